// SPDX-License-Identifier: BSL-1.0
#include "connection/call_queue.hpp"

#include "connection/connection_reference.hpp"
#include "connection/open.hpp"
#include "core/release_queue.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "loop/socket_scopes.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

/// Older clients lose a wake-up when two threads use one connection.
bool calls_must_be_ordered()
{
    static const bool ordered = [] {
        unsigned long version = 0;
        return virGetVersion(&version, nullptr, nullptr) < 0 || version < 10004000;
    }();
    return ordered;
}

void run_alone(
    call_owner& owner, std::uint64_t number, call_base& function, const connect_options& options,
    const std::shared_ptr<connection_socket>& socket)
{
    failure f;
    owner.call_connects(number, options.timeout);
    virConnectPtr own = connect(options, socket, f);
    if (own && owner.call_begins(number)) {
        const owner_scope naming(socket);
        f = explain_by_socket(function.run(own), socket);
    }
    owner.call_returned(number, std::move(f));
    if (own)
        close_now(own);
}

} // namespace

std::uint64_t call_queue::add(
    std::shared_ptr<call_base> function, call_handler handler, const asio::any_io_executor& executor,
    error_details* details)
{
    auto& c = calls_.emplace_back();
    c.number = ++last_;
    c.function = std::move(function);
    c.start(std::move(handler), executor, details);
    return c.number;
}

void call_queue::start(const std::shared_ptr<call_owner>& owner, const target& on)
{
    for (auto next = calls_.begin(); next != calls_.end();) {
        if (ordered_ != 0 || !on.connection)
            return;
        auto& c = *next++;
        const auto number = c.number;
        if (!c.job && submit(c, owner, on) && calls_must_be_ordered())
            ordered_ = number;
    }
}

void call_queue::start_beside(
    std::uint64_t number, const std::shared_ptr<call_owner>& owner, const target& on)
{
    submit(*find(number), owner, on);
}

/// Returns whether it will be run; it has failed otherwise.
bool call_queue::submit(entry& c, std::function<void()> function, const std::shared_ptr<job_lane>& lane)
{
    c.waits.reset();
    c.job = worker_pool::instance().make(std::move(function), lane);
    const auto no_thread = worker_pool::instance().submit(c.job);
    if (no_thread)
        fail(c.number, no_thread);
    return !no_thread;
}

bool call_queue::submit(entry& c, const std::shared_ptr<call_owner>& owner, const target& on)
{
    c.has_begun = true;
    c.socket = on.socket;
    auto run = [owner, function = c.function, connection = connection_reference(on.connection),
                socket = on.socket, seeks_socket = on.seeks_socket, n = c.number]() mutable {
        std::optional<daemon_wait> work(std::in_place, socket);
        failure f;
        if (seeks_socket) {
            if (auto found = find_socket(connection.get(), socket)) {
                socket = std::move(found);
                work.emplace(socket);
                owner->socket_found(n, socket);
            }
            else if (function->needs_watched_socket() && is_unwatched(connection.get()))
                f = unwatched_failure();
        }
        if (!f) {
            const owner_scope naming(socket);
            f = explain_by_socket(function->run(connection.get()), socket);
        }
        connection.drop();
        owner->call_returned(n, std::move(f));
    };
    return submit(c, std::move(run), on.lane);
}

void call_queue::start_alone(
    std::uint64_t number, const std::shared_ptr<call_owner>& owner,
    std::shared_ptr<const connect_options> options, const std::shared_ptr<job_lane>& lane)
{
    auto& c = *find(number);
    c.socket = std::make_shared<connection_socket>();
    c.socket->uri = options->uri;
    submit(
        c,
        [owner, function = c.function, options = std::move(options), socket = c.socket, number] {
            run_alone(*owner, number, *function, *options, socket);
        },
        lane);
}

void call_queue::connects(
    std::uint64_t number, std::chrono::milliseconds time_limit, std::function<void()> time_is_over)
{
    const auto c = find(number);
    if (c != calls_.end())
        c->time_to_connect.emplace(time_limit, std::move(time_is_over));
}

void call_queue::time_out(std::uint64_t number)
{
    const auto c = find(number);
    if (c == calls_.end() || !c->time_to_connect)
        return;
    abandon(*c);
    c->function.reset();
    c->complete(open_timed_out(), false);
    calls_.erase(c);
}

bool call_queue::begins(std::uint64_t number)
{
    const auto c = find(number);
    if (c == calls_.end())
        return false;
    c->time_to_connect.reset();
    c->has_begun = true;
    return true;
}

bool call_queue::found_socket(std::uint64_t number, const std::shared_ptr<connection_socket>& socket)
{
    for (auto* calls : {&calls_, &given_up_}) {
        const auto c = std::ranges::find(*calls, number, &entry::number);
        if (c != calls->end()) {
            c->socket = socket;
            return true;
        }
    }
    return false;
}

void call_queue::returned(std::uint64_t number, failure f)
{
    if (ordered_ == number)
        ordered_ = 0;
    std::erase_if(given_up_, [&](const entry& c) { return c.number == number; });
    const auto c = find(number);
    if (c == calls_.end())
        return;
    c->function.reset(); // Its last owner may be the handler, and end what it owns: not here, under the lock.
    c->complete(std::move(f), true);
    calls_.erase(c);
}

void call_queue::fail(std::uint64_t number, failure f)
{
    const auto c = find(number);
    c->function.reset();
    c->complete(std::move(f), false);
    calls_.erase(c);
}

void call_queue::cancel(std::uint64_t number, asio::cancellation_type type)
{
    const auto c = find(number);
    if (c == calls_.end())
        return;
    const bool may_go_on = c->job && !withdraw(*c) && c->has_begun;
    if (may_go_on && !has(type, asio::cancellation_type::terminal)) {
        if (has(type, asio::cancellation_type::partial))
            give_up(c);
        return;
    }
    abandon(*c);
    c->function.reset();
    c->complete(aborted, false);
    calls_.erase(c);
}

void call_queue::fail_waiting(const failure& f)
{
    std::erase_if(calls_, [&](entry& c) {
        if (c.job)
            return false;
        c.function.reset();
        c.complete(f, false);
        return true;
    });
}

void call_queue::abort_all(cost most)
{
    for (auto& c : calls_) {
        abandon(c, most);
        c.function.reset();
        c.complete(aborted, false);
    }
    calls_.clear();
}

void call_queue::abandon_given_up(cost most) noexcept
{
    for (auto& c : given_up_)
        abandon(c, most);
    given_up_.clear();
}

std::list<std::optional<pending_operation<void(error_code, bool)>::state>> call_queue::take_all()
{
    std::list<std::optional<pending_operation<void(error_code, bool)>::state>> handlers;
    for (auto& c : calls_) {
        abandon(c);
        handlers.push_back(c.take());
    }
    calls_.clear();
    abandon_given_up(cost::connection);
    return handlers;
}

call_queue::iterator call_queue::find(std::uint64_t number)
{
    return std::ranges::find(calls_, number, &entry::number);
}

/// Returns whether its job had not begun, and never will.
bool call_queue::withdraw(entry& c) noexcept
{
    if (!c.job || !worker_pool::instance().withdraw(c.job))
        return false;
    c.job.reset();
    if (ordered_ == c.number) // It will never say that it has returned.
        ordered_ = 0;
    return true;
}

/// Completes it, and lets it go on. Its connection is still its own, and what it returns is released.
void call_queue::give_up(iterator c)
{
    worker_pool::instance().release_loop(c->job);
    c->complete(aborted, false);
    given_up_.splice(given_up_.end(), calls_, c);
}

/// Frees its thread at the cost of the connection; where libvirt has not told of a socket yet it is left
/// alone.
void call_queue::abandon(entry& c, cost most) noexcept
{
    if (!c.job || withdraw(c))
        return;
    worker_pool::instance().abandon(std::exchange(c.job, nullptr));
    if (most == cost::nothing || !c.socket || c.function->is_internal())
        return;
    if (most == cost::connection)
        socket_monitor::instance().interrupt(*c.socket);
    else
        socket_monitor::instance().interrupt_unless_used(*c.socket);
}

} // namespace avirt::detail
