// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"

#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/failure.hpp>

#include <libvirt/libvirt.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>

namespace avirt::detail {

/// What libvirt asks for on the way to a daemon, by its question.
class answers
{
public:
    void insert(const credential& answered);
    /// Fills in the results; false, and nothing filled in, where one is not known.
    bool fill(std::span<credential> asked) const;

private:
    using question = std::tuple<int, std::string, std::string>; // type, prompt, challenge

    std::map<question, std::string> results_;
};

/// The answers that opened a connection, for those that follow it.
class known_answers
{
public:
    answers get() const;
    void set(answers known);

private:
    mutable fork_safe_mutex mutex_;
    answers answers_;
};

/// With what the connections to one daemon are opened.
struct connect_options : open_options
{
    explicit connect_options(open_options options);

    std::shared_ptr<known_answers> known; // null: each connection asks
};

/// The questions of one virConnectOpenAuth.
class authentication
{
public:
    explicit authentication(const connect_options& options);

    /// What libvirt is to be given; null where nobody could answer.
    virConnectAuthPtr native() noexcept;
    /// The answers were right, or wrong.
    void ended(bool is_open);
    /// What the application's function threw.
    const failure& thrown() const noexcept;

private:
    static int ask(virConnectCredentialPtr asked, unsigned count, void* self) noexcept;
    bool answer(std::span<credential> asked);

    const connect_options& options_;
    answers known_;
    answers given_;
    bool has_replayed_ = false;
    failure thrown_;
    virConnectAuth auth_{};
};

} // namespace avirt::detail
