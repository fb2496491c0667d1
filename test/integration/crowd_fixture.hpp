// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "remote_fixture.hpp"

#include <array>
#include <cstddef>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

class visitor;

/// A daemon that may have more clients than a shell's limit of open files allows.
struct crowd_daemon
{
    crowd_daemon();

    support::libvirtd own;
};

/// A private daemon with what a crowd of visitors uses: guests, a volume to read, and volumes to write.
struct crowd_fixture : crowd_daemon, remote_fixture
{
    /// How far a visit has come.
    enum class stage { opening, use, end };

    static constexpr std::size_t at_a_time = 50;
    static constexpr std::size_t volume_size = 600'000;

    std::mt19937 random;
    std::string content_of_volume;
    std::filesystem::path uploads[at_a_time];
    std::vector<std::size_t> free_uploads; // the indices of those that no visitor writes
    std::set<const visitor*> present;      // those that have not left
    bool is_mortal_visited = false;        // the guest that is destroyed under its console
    std::array<std::size_t, 3> given_up{}; // how many visits were given up in each stage

    crowd_fixture();

    /// Lets that many visitors in, and waits until all have left and their connections are closed.
    void let_in(std::size_t visitors);

    /// A number from 0 to n - 1.
    std::size_t any_of(std::size_t n)
    {
        return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
    }
};
