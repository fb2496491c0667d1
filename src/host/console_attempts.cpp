// SPDX-License-Identifier: BSL-1.0
#include "host/console_attempts.hpp"

#include "host/console_reason.hpp"

#include <utility>

namespace avirt::detail {
namespace {

constexpr std::chrono::milliseconds first_delay{100};
constexpr std::chrono::milliseconds longest_delay{10'000};
/// A console that was open for so long works: the next attempt is made soon.
constexpr std::chrono::seconds long_enough{1};

} // namespace

console_attempts::console_attempts(bool forces)
    : forces_(forces),
      may_force_(forces),
      delay_(first_delay, longest_delay)
{
}

void console_attempts::guest_started(bool was_host_away) noexcept
{
    ++starts_;
    is_retry_ = false;
    if (!was_host_away) // A session that took the console over keeps it while the host is away.
        may_force_ = forces_;
    next_ = clock::time_point::min();
    delay_.reset();
}

void console_attempts::host_came_back() noexcept
{
    ended_run_ = console_run_opener::no_run; // A daemon that ends ends its streams, too.
}

void console_attempts::take_over() noexcept
{
    takes_over_ = true;
    next_ = clock::time_point::min();
}

void console_attempts::guest_is_off() noexcept
{
    takes_over_ = false;
}

void console_attempts::not_needed() noexcept
{
    if (is_given_up())
        next_ = clock::time_point::min();
}

console_attempts::attempt console_attempts::begin(clock::time_point now) noexcept
{
    starts_before_ = starts_;
    if (now - ended_at_ > longest_delay)
        ended_run_ = console_run_opener::no_run; // It has lost its console, but lives.
    return {std::exchange(takes_over_, false) || may_force_, ended_run_};
}

void console_attempts::opened(int run, bool is_open) noexcept
{
    run_ = run;
    if (is_open)
        takes_over_ = false; // Who asked for it meanwhile has it.
}

void console_attempts::was_open_for(clock::duration time) noexcept
{
    if (time > long_enough)
        delay_.reset();
}

void console_attempts::ended(const failure& why, console_state state, clock::time_point now)
{
    is_retry_ = state != console_state::opening;
    if (state == console_state::taken_over)
        may_force_ = false;
    if (state == console_state::off && run_ != console_run_opener::no_run) {
        ended_run_ = run_;
        ended_at_ = now;
    }
    if (starts_ != starts_before_ || takes_over_)
        next_ = clock::time_point::min(); // Something has happened since.
    else
        next_ = is_permanent(why) ? clock::time_point::max() : now + delay_.next();
}

} // namespace avirt::detail
