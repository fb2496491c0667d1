// SPDX-License-Identifier: BSL-1.0
#include "transfer/transfer_meter.hpp"

#include "core/await_operation.hpp"
#include "transfer/shared_limits.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>

namespace avirt::detail {
namespace {

constexpr std::chrono::milliseconds report_interval{100};

} // namespace

transfer_meter::transfer_meter(const transfer_options& options, clock::time_point now)
    : on_progress_(options.on_progress),
      start_(now),
      next_report_(now + report_interval),
      own_rate_(options.bytes_per_second),
      limits_(options.limits ? implementation_of(*options.limits) : nullptr)
{
}

std::size_t transfer_meter::largest_piece() const noexcept
{
    const auto own = own_rate_.largest_piece();
    return limits_ ? std::min(own, limits_->rate().largest_piece()) : own;
}

asio::awaitable<void> transfer_meter::wait_for_turn(std::size_t bytes)
{
    const auto now = clock::now();
    auto turn = own_rate_.reserve(bytes, now);
    if (limits_)
        turn = std::max(turn, limits_->rate().reserve(bytes, now));
    if (turn <= now)
        co_return;
    asio::steady_timer timer(co_await asio::this_coro::executor, turn);
    const auto [cancelled] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (!cancelled)
        co_return;
    own_rate_.give_back(bytes);
    if (limits_)
        limits_->rate().give_back(bytes);
}

void transfer_meter::count(std::uint64_t bytes, clock::time_point now)
{
    so_far_.bytes += bytes;
    report_now_and_then(now);
}

void transfer_meter::count_hole(std::uint64_t length, clock::time_point now)
{
    so_far_.hole_bytes += length;
    report_now_and_then(now);
}

void transfer_meter::finish(clock::time_point now)
{
    so_far_.elapsed = now - start_;
    if (on_progress_)
        on_progress_(so_far_);
}

void transfer_meter::report_now_and_then(clock::time_point now)
{
    so_far_.elapsed = now - start_;
    if (now < next_report_)
        return;
    next_report_ = now + report_interval;
    if (on_progress_)
        on_progress_(so_far_);
}

} // namespace avirt::detail
