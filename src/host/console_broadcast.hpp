// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "host/console_history.hpp"

#include <avirt/console_state.hpp>
#include <avirt/detail/attempt.hpp>
#include <avirt/detail/console_session_impl.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

namespace avirt::detail {

/// A set of states that an operation waits for.
class console_states
{
public:
    static console_states only(console_state s) noexcept
    {
        return console_states(bit(s));
    }

    static console_states all_but(console_state s) noexcept
    {
        return console_states(~bit(s));
    }

    bool contains(console_state s) const noexcept
    {
        return (bits_ & bit(s)) != 0;
    }

private:
    explicit console_states(unsigned bits) noexcept : bits_(bits) {}

    static unsigned bit(console_state s) noexcept
    {
        return 1U << static_cast<unsigned>(s);
    }

    unsigned bits_;
};

/// The output and the states of one session, its views, and those who wait for a state. All functions may be
/// called from any thread; those that add output by one thread at a time.
class console_broadcast : public std::enable_shared_from_this<console_broadcast>
{
public:
    /// One reader. Guarded by the lock of the broadcast.
    struct reader
    {
        console_history::place place{};
        pending_operation<void(error_code, std::size_t)> operation{};
        mutable_buffer_list buffers{};
        std::size_t index = 0; // in waiting_, while the operation is outstanding
    };

    console_broadcast(const asio::any_io_executor& executor, std::size_t history);

    // What is told to all.

    /// Memory for output, which the caller fills.
    mutable_buffer_list prepare(std::size_t size);
    void commit(std::size_t size);
    /// Does nothing if neither the state nor the reason is new.
    void change(console_state state, error_details reason = {});
    /// The last change. Readers come to the end when they have read everything.
    void close(error_details reason) noexcept;
    /// Destroys the handlers, because the context ends.
    void shutdown() noexcept;

    console_state state() const noexcept;
    error_details reason() const;
    std::uint64_t end_offset() const noexcept;
    /// Completes when the session is in one of the states, or closed.
    void async_wait_for(console_states states, wait_handler handler, error_details* details);

    // For the views.

    void place_at(reader& r, std::uint64_t from) const noexcept;
    std::uint64_t offset(const reader& r) const noexcept;
    std::uint64_t take_lost(reader& r) const noexcept;
    console_state state(const reader& r) const noexcept;
    bool try_read(reader& r, const mutable_buffer_list& buffers, io_result& result);
    void async_read(
        const std::shared_ptr<reader>& r, const mutable_buffer_list& buffers, io_handler handler,
        error_details* details);
    /// Ends an outstanding read with operation_aborted.
    void cancel(reader& r) noexcept;

private:
    struct wait
    {
        std::uint64_t number;
        console_states states;
        pending_operation<void(error_code)> operation{};
    };

    bool try_read_locked(reader& r, const mutable_buffer_list& buffers, io_result& result);
    /// Returns false if nothing has come yet.
    bool read(reader& r, const mutable_buffer_list& buffers, io_result& result);
    void complete_reads();
    void complete_waits(console_state state);
    void remove_waiting(reader& r) noexcept;
    void cancel_read(reader& r, std::uint64_t number) noexcept;
    void cancel_wait(std::uint64_t number) noexcept;

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_; // empty: the context has ended
    console_history history_;
    error_details reason_;
    bool is_closed_ = false;
    std::vector<std::shared_ptr<reader>> waiting_; // the readers whose operations are outstanding
    std::list<wait> waits_;
    std::uint64_t last_number_ = 0;
};

} // namespace avirt::detail
