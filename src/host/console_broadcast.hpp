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
#include <optional>
#include <vector>

namespace avirt::detail {

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
    void async_wait_for(console_state state, wait_handler handler, error_details* details);

    /// Says that something else may have changed.
    void tell_news();
    /// The number of the changes of state, and of what else has been told, so far.
    std::uint64_t news() const noexcept;
    /// Completes when there is more than that.
    void async_wait_for_news(std::uint64_t known, wait_handler handler, error_details* details);

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
        std::optional<console_state> state; // none: any news
        pending_operation<void(error_code)> operation{};
    };

    bool try_read_locked(reader& r, const mutable_buffer_list& buffers, io_result& result);
    /// Returns false if nothing has come yet.
    bool read(reader& r, const mutable_buffer_list& buffers, io_result& result);
    void complete_reads();
    void add_wait(std::optional<console_state> state, wait_handler handler, error_details* details);
    console_state state_locked() const noexcept;
    void complete_waits(std::optional<console_state> state);
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
    std::uint64_t news_ = 0;
};

} // namespace avirt::detail
