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

/// Answers to the questions that libvirt asks while it opens a connection.
class answers
{
public:
    void insert(const credential& answered);

    /// Fills in the results of all questions. Returns false, and fills in nothing, if an answer is missing.
    bool fill(std::span<credential> questions) const;

private:
    using question = std::tuple<int, std::string, std::string>; // type, prompt, challenge

    std::map<question, std::string> results_;
};

/// The answers with which a connection was opened, to be replayed by later connections to the same daemon.
/// All functions may be called from any thread.
class remembered_answers
{
public:
    answers get() const;
    void set(answers accepted);

private:
    mutable fork_safe_mutex mutex_;
    answers answers_;
};

/// Options shared by all connections to one daemon.
struct connect_options : open_options
{
    explicit connect_options(open_options options);

    std::shared_ptr<remembered_answers> remembered; // null: each connection asks the application
};

/// Answers the questions of one virConnectOpenAuth: with remembered answers, or by the application's
/// function.
class authentication
{
public:
    explicit authentication(const connect_options& options);

    /// The argument for virConnectOpenAuth; null if the application has no function that answers.
    virConnectAuthPtr native() noexcept;

    /// Remembers the answers if they were accepted, and forgets remembered ones that were not.
    void on_result(bool is_open);

    /// The exception that the application's function threw.
    const failure& thrown() const noexcept;

private:
    static int answer_libvirt(virConnectCredentialPtr questions, unsigned count, void* self) noexcept;
    bool answer(std::span<credential> questions);

    const connect_options& options_;
    answers remembered_;
    answers given_;
    bool has_replayed_ = false; // Remembered answers were given.
    failure thrown_;
    virConnectAuth auth_{};
};

} // namespace avirt::detail
