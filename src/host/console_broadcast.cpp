// SPDX-License-Identifier: BSL-1.0
#include "host/console_broadcast.hpp"

#include <avirt/console_view.hpp>

#include <boost/asio/error.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

} // namespace

console_broadcast::console_broadcast(const asio::any_io_executor& executor, std::size_t history)
    : executor_(executor),
      history_(history, console_state::host_away)
{
}

mutable_buffer_list console_broadcast::prepare(std::size_t size)
{
    const std::lock_guard guard(mutex_);
    return history_.prepare(size);
}

void console_broadcast::commit(std::size_t size)
{
    const std::lock_guard guard(mutex_);
    if (is_closed_)
        return; // The readers have come to the end.
    history_.commit(size);
    complete_reads();
}

void console_broadcast::change(console_state state, error_details reason)
{
    const std::lock_guard guard(mutex_);
    if (is_closed_)
        return;
    reason_ = std::move(reason);
    if (state == history_.state())
        return;
    history_.change(state);
    complete_reads();
    complete_waits(state);
}

void console_broadcast::close(error_details reason) noexcept
{
    const std::lock_guard guard(mutex_);
    if (std::exchange(is_closed_, true))
        return;
    reason_ = std::move(reason);
    complete_reads();
    complete_waits(console_state::closed);
    for (auto& w : waits_)
        w.operation.complete(error::not_open);
    waits_.clear();
}

void console_broadcast::shutdown() noexcept
{
    // What is dropped is destroyed outside the lock.
    std::vector<std::optional<pending_operation<void(error_code, std::size_t)>::state>> reads;
    std::list<wait> waits;
    const std::lock_guard guard(mutex_);
    executor_ = {};
    for (const auto& r : waiting_)
        reads.push_back(r->operation.take());
    waiting_.clear();
    waits.swap(waits_);
}

console_state console_broadcast::state() const noexcept
{
    const std::lock_guard guard(mutex_);
    return state_locked();
}

console_state console_broadcast::state_locked() const noexcept
{
    return is_closed_ ? console_state::closed : history_.state();
}

error_details console_broadcast::reason() const
{
    const std::lock_guard guard(mutex_);
    return reason_;
}

std::uint64_t console_broadcast::end_offset() const noexcept
{
    const std::lock_guard guard(mutex_);
    return history_.end();
}

void console_broadcast::async_wait_for(console_state state, wait_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex_);
    if (!executor_)
        return;
    if (state == state_locked())
        complete_now(executor_, std::move(handler), details, {});
    else if (is_closed_)
        complete_now(executor_, std::move(handler), details, error::not_open);
    else
        add_wait(state, std::move(handler), details);
}

void console_broadcast::async_wait_for_news(std::uint64_t known, wait_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex_);
    if (!executor_)
        return;
    if (known != news_)
        complete_now(executor_, std::move(handler), details, {});
    else
        add_wait(std::nullopt, std::move(handler), details);
}

void console_broadcast::add_wait(
    std::optional<console_state> state, wait_handler handler, error_details* details)
{
    const auto number = ++last_number_;
    on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->cancel_wait(number);
    });
    auto& added = waits_.emplace_back(wait{number, state});
    added.operation.start(std::move(handler), executor_, details);
}

void console_broadcast::tell_news()
{
    const std::lock_guard guard(mutex_);
    complete_waits(std::nullopt);
}

std::uint64_t console_broadcast::news() const noexcept
{
    const std::lock_guard guard(mutex_);
    return news_;
}

/// Completes the waits for news, and those for the state.
void console_broadcast::complete_waits(std::optional<console_state> state)
{
    ++news_;
    std::erase_if(waits_, [&](wait& w) {
        const bool is_over = !w.state || w.state == state;
        if (is_over)
            w.operation.complete({});
        return is_over;
    });
}

void console_broadcast::cancel_wait(std::uint64_t number) noexcept
{
    const std::lock_guard guard(mutex_);
    const auto found = std::ranges::find(waits_, number, &wait::number);
    if (found == waits_.end())
        return;
    found->operation.complete(aborted);
    waits_.erase(found);
}

void console_broadcast::place_at(reader& r, std::uint64_t from) const noexcept
{
    const std::lock_guard guard(mutex_);
    r.place = from == console_view_options::everything ? history_.first() : history_.at(from);
}

std::uint64_t console_broadcast::offset(const reader& r) const noexcept
{
    const std::lock_guard guard(mutex_);
    return r.place.offset;
}

std::uint64_t console_broadcast::take_lost(reader& r) const noexcept
{
    const std::lock_guard guard(mutex_);
    return std::exchange(r.place.lost, 0);
}

console_state console_broadcast::state(const reader& r) const noexcept
{
    const std::lock_guard guard(mutex_);
    return r.place.state;
}

bool console_broadcast::try_read(reader& r, const mutable_buffer_list& buffers, io_result& result)
{
    const std::lock_guard guard(mutex_);
    return executor_ && try_read_locked(r, buffers, result);
}

void console_broadcast::async_read(
    const std::shared_ptr<reader>& r, const mutable_buffer_list& buffers, io_handler handler,
    error_details* details)
{
    const std::lock_guard guard(mutex_);
    if (!executor_)
        return;
    io_result result;
    if (try_read_locked(*r, buffers, result)) // Output may have come meanwhile, on another thread.
        return complete_now(executor_, std::move(handler), details, std::move(result.ending), result.bytes);
    on_cancel(
        handler,
        [weak = weak_from_this(), weak_reader = std::weak_ptr(r),
         number = r->operation.number() + 1](asio::cancellation_type) {
            const auto self = weak.lock();
            const auto cancelled = weak_reader.lock();
            if (self && cancelled)
                self->cancel_read(*cancelled, number);
        });
    waiting_.reserve(waiting_.size() + 1);
    r->buffers = buffers;
    r->index = waiting_.size();
    r->operation.start(std::move(handler), executor_, details);
    waiting_.push_back(r);
}

bool console_broadcast::try_read_locked(reader& r, const mutable_buffer_list& buffers, io_result& result)
{
    if (r.operation) {
        result.ending = error::operation_in_progress;
        return true;
    }
    return buffers.empty() || read(r, buffers, result);
}

bool console_broadcast::read(reader& r, const mutable_buffer_list& buffers, io_result& result)
{
    if (const auto next = history_.read(r.place, buffers)) {
        result.ending = next->error;
        result.bytes = next->bytes;
        return true;
    }
    if (is_closed_) {
        r.place.state = console_state::closed;
        result.ending = error_code(asio::error::eof);
    }
    return is_closed_;
}

/// Completes all reads that wait. Something has come, and they have read everything before.
void console_broadcast::complete_reads()
{
    for (const auto& r : waiting_) {
        io_result result;
        read(*r, r->buffers, result);
        r->operation.complete(std::move(result.ending), result.bytes);
    }
    waiting_.clear();
}

void console_broadcast::remove_waiting(reader& r) noexcept
{
    waiting_.back()->index = r.index;
    std::swap(waiting_[r.index], waiting_.back());
    waiting_.pop_back();
}

void console_broadcast::cancel_read(reader& r, std::uint64_t number) noexcept
{
    const std::lock_guard guard(mutex_);
    if (!r.operation || r.operation.number() != number)
        return;
    remove_waiting(r);
    r.operation.complete(aborted, 0);
}

void console_broadcast::cancel(reader& r) noexcept
{
    const std::lock_guard guard(mutex_);
    if (!r.operation)
        return;
    remove_waiting(r);
    r.operation.complete(aborted, 0);
}

} // namespace avirt::detail
