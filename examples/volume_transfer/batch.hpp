// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "command_line.hpp"
#include "display.hpp"
#include "transfer.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

/// The transfers of a command, a few of which run at a time. If one fails, the others go on.
class batch
{
public:
    batch(const command_line& how, std::vector<std::unique_ptr<transfer>> transfers, display& view);

    asio::awaitable<void> run();

    /// Says what has become of the transfers that were interrupted.
    void say_interrupted();

    bool has_succeeded() const;

private:
    struct entry
    {
        enum class phase { waiting, moving, comparing, done, failed };

        std::unique_ptr<transfer> what;
        phase now = phase::waiting;
        avirt::progress moved{};
    };

    asio::awaitable<void> work();
    asio::awaitable<void> perform(std::size_t index);
    asio::awaitable<void> compare_checksums(const entry& e);
    void fail(entry& e, const std::string& why);

    const command_line& how_;
    const avirt::transfer_limits limits_;
    display& view_;
    std::vector<entry> entries_;
    std::size_t next_ = 0;
};
