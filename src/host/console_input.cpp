// SPDX-License-Identifier: BSL-1.0
#include "host/console_input.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace avirt::detail {

console_input::console_input(const asio::any_io_executor& executor, bool waits_for_console)
    : executor_(executor),
      waits_for_console_(waits_for_console)
{
}

bool console_input::try_write(const const_buffer_list& buffers, io_result& result)
{
    const std::lock_guard guard(mutex_);
    return executor_ && try_write_locked(buffers, result);
}

void console_input::async_write(const const_buffer_list& buffers, io_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex_);
    if (!executor_)
        return;
    io_result result;
    if (try_write_locked(buffers, result))
        return complete_now(executor_, std::move(handler), details, std::move(result.ending), result.bytes);
    const auto number = ++last_number_;
    on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->cancel(number);
    });
    auto& added = writes_.emplace_back();
    added.number = number;
    added.buffers = buffers;
    added.operation.start(std::move(handler), executor_, details);
}

bool console_input::try_write_locked(const const_buffer_list& buffers, io_result& result)
{
    if (phase_ == phase::closed)
        result.ending = error::not_open;
    else if (phase_ == phase::detached && !waits_for_console_)
        result.ending = error::not_attached;
    else if (!buffers.empty()) {
        if (phase_ == phase::detached || !writes_.empty() || unsent_.size() >= max_size)
            return false;
        result.bytes = accept(buffers);
    }
    return true;
}

std::size_t console_input::accept(const const_buffer_list& buffers)
{
    const auto size = std::min(buffers.size(), max_size - unsent_.size());
    const auto old_size = unsent_.size();
    unsent_.resize(old_size + size);
    return asio::buffer_copy(asio::buffer(unsent_) + old_size, buffers);
}

void console_input::accept_waiting_writes()
{
    while (!writes_.empty() && unsent_.size() < max_size) {
        auto& first = writes_.front();
        const auto bytes = accept(first.buffers);
        first.operation.complete({}, bytes);
        writes_.pop_front();
    }
}

std::uint64_t console_input::take_unknown() noexcept
{
    const std::lock_guard guard(mutex_);
    return std::exchange(unknown_, 0);
}

void console_input::attach()
{
    const std::lock_guard guard(mutex_);
    if (phase_ == phase::closed)
        return;
    phase_ = phase::attached;
    pace_ = {};
    accept_waiting_writes();
}

void console_input::detach() noexcept
{
    const std::lock_guard guard(mutex_);
    if (phase_ != phase::attached)
        return;
    phase_ = phase::detached;
    give_up_input();
    end_writes(error::not_attached);
}

/// Counts what may not have reached the guest, and drops what has not been sent.
void console_input::give_up_input() noexcept
{
    unknown_ += unheard_ + sending_.size() + unsent_.size();
    unheard_ = 0;
    unsent_.clear();
    is_counted_ = is_sending_;
}

std::optional<std::uint64_t> console_input::detach_if_idle() noexcept
{
    const std::lock_guard guard(mutex_);
    if (phase_ != phase::attached || is_sending_ || !unsent_.empty() || !writes_.empty())
        return std::nullopt;
    phase_ = phase::detached;
    unknown_ += unheard_;
    return std::exchange(unheard_, 0);
}

void console_input::arrived(std::uint64_t size) noexcept
{
    const std::lock_guard guard(mutex_);
    unknown_ -= std::min(unknown_, size);
}

void console_input::refuse(const failure& why) noexcept
{
    const std::lock_guard guard(mutex_);
    if (phase_ == phase::detached)
        end_writes(why);
}

void console_input::close() noexcept
{
    const std::lock_guard guard(mutex_);
    if (phase_ == phase::attached)
        give_up_input();
    phase_ = phase::closed;
    end_writes(error_code(asio::error::operation_aborted));
}

void console_input::end_writes(const failure& why) noexcept
{
    for (auto& w : writes_)
        w.operation.complete(why, 0);
    writes_.clear();
}

void console_input::cancel(std::uint64_t number) noexcept
{
    const std::lock_guard guard(mutex_);
    const auto found = std::ranges::find(writes_, number, &write::number);
    if (found == writes_.end())
        return;
    found->operation.complete(error_code(asio::error::operation_aborted), 0);
    writes_.erase(found);
}

void console_input::shutdown() noexcept
{
    std::list<write> dropped; // Their handlers are destroyed outside the lock.
    const std::lock_guard guard(mutex_);
    dropped.swap(writes_);
    executor_ = {};
}

bool console_input::is_waiting() const noexcept
{
    const std::lock_guard guard(mutex_);
    return is_sending_ || !unsent_.empty() || !writes_.empty();
}

asio::const_buffer console_input::next_packet(input_pacing::clock::time_point now)
{
    const std::lock_guard guard(mutex_);
    if (phase_ != phase::attached || is_sending_ || unsent_.empty() || pace_.next() > now)
        return {};
    is_sending_ = true;
    last_progress_ = now;
    sending_.swap(unsent_);
    accept_waiting_writes();
    return asio::buffer(std::as_const(sending_));
}

void console_input::sent(std::size_t size, input_pacing::clock::time_point now)
{
    const std::lock_guard guard(mutex_);
    is_sending_ = false;
    if (!std::exchange(is_counted_, false)) {
        last_progress_ = now;
        pace_.sent(size, now);
        unheard_ += size;
        waits_for_paused_ += size;
        if (size != sending_.size())
            unsent_.insert(0, sending_, size);
    }
    sending_.clear();
}

void console_input::on_paused(input_pacing::clock::time_point now) noexcept
{
    const std::lock_guard guard(mutex_);
    // What was sent long before has been taken, though it was not answered; the pause itself is noticed late.
    waits_for_paused_ = now - last_progress_ < patience ? unheard_ : 0;
}

bool console_input::heard(bool is_paused) noexcept
{
    const std::lock_guard guard(mutex_);
    if (is_paused)
        return false; // It was printed before.
    pace_.heard();
    unheard_ = 0;
    if (unsent_.empty() && !is_sending_)
        return false;
    last_progress_ = input_pacing::clock::now();
    return true;
}

bool console_input::waits_for_guest(bool is_paused) const noexcept
{
    const bool is_held_back = !unsent_.empty() && pace_.next() == input_pacing::clock::time_point::max();
    return is_held_back || is_sending_ || (is_paused && waits_for_paused_ != 0);
}

std::optional<input_pacing::clock::time_point> console_input::next_change(
    input_pacing::clock::time_point now, bool is_paused) const noexcept
{
    const std::lock_guard guard(mutex_);
    if (!is_sending_ && !unsent_.empty() && pace_.next() != input_pacing::clock::time_point::max())
        return std::max(pace_.next(), now);
    if (waits_for_guest(is_paused) && last_progress_ + patience > now)
        return last_progress_ + patience;
    return std::nullopt;
}

bool console_input::is_stalled(input_pacing::clock::time_point now, bool is_paused) const noexcept
{
    const std::lock_guard guard(mutex_);
    return waits_for_guest(is_paused) && now >= last_progress_ + patience;
}

} // namespace avirt::detail
