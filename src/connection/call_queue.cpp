// SPDX-License-Identifier: BSL-1.0
#include "connection/call_queue.hpp"

#include "connection/open.hpp"
#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "loop/socket_scopes.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

/// Older clients lose a wake-up if two threads use one connection.
bool calls_must_be_ordered()
{
    static const bool ordered = [] {
        unsigned long version = 0;
        return virGetVersion(&version, nullptr, nullptr) < 0 || version < 10004000;
    }();
    return ordered;
}

bool has(asio::cancellation_type types, asio::cancellation_type wanted) noexcept
{
    return (types & wanted) != asio::cancellation_type::none;
}

} // namespace

call_queue::call_queue(std::shared_ptr<connection_state> connection) : connection_(std::move(connection)) {}

void call_queue::call(std::shared_ptr<call_base> function, call_handler&& handler, error_details* details)
{
    if (add(std::move(function), std::move(handler), details))
        start_waiting();
}

void call_queue::call_on_own_connection(
    std::shared_ptr<call_base> function, call_handler&& handler, error_details* details)
{
    auto* c = add(std::move(function), std::move(handler), details);
    if (!c)
        return;
    if (auto options = connection_->reopen_options())
        start_on_own_connection(*c, std::move(options));
    else if (connection_->is_in_process()) // No wake-up is lost between threads there.
        start(*c);
    else
        start_waiting();
}

void call_queue::fail_unstarted(const failure& f)
{
    for (auto next = calls_.begin(); next != calls_.end();) {
        const auto c = next++;
        if (!c->is_started())
            complete(c, f);
    }
}

void call_queue::abort(interruption allowed)
{
    while (!calls_.empty()) {
        free_thread(calls_.front(), allowed);
        complete(calls_.begin(), aborted);
    }
}

void call_queue::free_detached(interruption allowed) noexcept
{
    for (auto& c : detached_)
        free_thread(c, allowed);
    detached_.clear();
}

call_queue::handler_list call_queue::take_handlers()
{
    handler_list handlers;
    for (auto& c : calls_) {
        free_thread(c, interruption::always);
        handlers.push_back(c.take_handler());
    }
    calls_.clear();
    free_detached(interruption::always);
    ready_.close_all();
    return handlers;
}

/// Returns the call, to be started; null if it cannot be.
pending_call* call_queue::add(
    std::shared_ptr<call_base> function, call_handler&& handler, error_details* details)
{
    if (!connection_->executor) // The caller destroys the handler, outside the lock.
        return nullptr;
    const auto number = last_number_ + 1;
    if (connection_->connection)
        on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type type) {
            if (const auto self = weak.lock())
                self->cancel(number, type);
        });
    calls_.emplace_back(number, std::move(function), std::move(handler), connection_->executor, details);
    last_number_ = number;
    if (connection_->connection)
        return &calls_.back();
    complete(std::prev(calls_.end()), connection_->not_open());
    return nullptr;
}

/// Starts the calls that need not wait any longer.
void call_queue::start_waiting()
{
    for (auto next = calls_.begin(); next != calls_.end();) {
        if (exclusive_ != 0 || !connection_->connection)
            return;
        auto& c = *next++;
        const auto number = c.number;
        if (!c.is_started() && start(c) && calls_must_be_ordered())
            exclusive_ = number;
    }
}

/// Starts a call on the connection. Returns false if the call has failed instead.
bool call_queue::start(pending_call& c)
{
    c.may_be_running = true;
    c.socket = connection_->socket;
    return submit(
        c,
        [self = shared_from_this(), number = c.number, function = c.function,
         connection = connection_reference(connection_->connection), socket = connection_->socket,
         must_find_socket = connection_->is_socket_unknown()]() mutable {
            self->run(number, *function, connection, std::move(socket), must_find_socket);
        });
}

void call_queue::start_on_own_connection(pending_call& c, std::shared_ptr<const connect_options> options)
{
    c.socket = std::make_shared<connection_socket>();
    c.socket->uri = options->uri;
    submit(
        c,
        [self = shared_from_this(), number = c.number, function = c.function, options = std::move(options),
         socket = c.socket] { self->run_on_own_connection(number, *function, options, socket); });
}

bool call_queue::submit(pending_call& c, std::function<void()> job)
{
    const auto no_thread = c.submit(std::move(job), connection_->lane);
    if (no_thread)
        complete(find(c.number), no_thread);
    return !no_thread;
}

void call_queue::complete(iterator c, failure f, bool has_returned)
{
    c->complete(std::move(f), has_returned);
    calls_.erase(c);
}

/// Drops the call's job if it has not begun. Returns whether it was dropped.
bool call_queue::withdraw(pending_call& c) noexcept
{
    if (!c.withdraw())
        return false;
    if (exclusive_ == c.number) // The job will not report that it has returned.
        exclusive_ = 0;
    return true;
}

void call_queue::free_thread(pending_call& c, interruption allowed) noexcept
{
    if (c.is_started() && !withdraw(c))
        c.free_thread(allowed);
}

void call_queue::run(
    std::uint64_t number, call_base& function, connection_reference& connection,
    std::shared_ptr<connection_socket> socket, bool must_find_socket)
{
    std::optional<daemon_wait> wait(std::in_place, socket);
    failure f;
    if (must_find_socket) {
        if (auto found = find_socket(connection.get(), socket)) {
            socket = std::move(found);
            wait.emplace(socket);
            set_socket(number, socket);
        }
        else if (function.needs_watched_socket() && is_unwatched(connection.get()))
            f = unwatched_failure();
    }
    if (!f) {
        const owner_scope naming(socket);
        f = explain_by_socket(function.run(connection.get()), socket);
    }
    connection.drop();
    on_returned(number, std::move(f));
}

void call_queue::run_on_own_connection(
    std::uint64_t number, call_base& function, const std::shared_ptr<const connect_options>& options,
    const std::shared_ptr<connection_socket>& socket)
{
    failure f;
    auto own = take_ready(number);
    if (!own.native) {
        set_time_to_connect(number, *options);
        own = {connect(*options, socket, f), socket};
    }
    if (own.native && begin_on_own_connection(number)) {
        const owner_scope naming(own.socket);
        f = explain_by_socket(function.run(own.native), own.socket);
    }
    bool is_kept = false;
    {
        // Under one lock: a cancellation must not interrupt the connection while the next call uses it.
        const std::lock_guard guard(connection_->mutex);
        is_kept = own.native && function.leaves_no_object() && keep(own, options);
        on_returned_locked(number, std::move(f));
    }
    if (own.native && !is_kept)
        close_now(own.native);
}

/// Returns a connection that is ready for the call, or none.
ready_connections::connection call_queue::take_ready(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    const auto c = find(number);
    if (c == calls_.end())
        return {};
    auto ready = ready_.take();
    if (ready.native)
        c->socket = ready.socket;
    return ready;
}

/// Keeps the connection for later calls, unless the application's has been given up. Returns whether it did.
bool call_queue::keep(
    const ready_connections::connection& own, const std::shared_ptr<const connect_options>& options)
{
    if (connection_->reopen_options() != options)
        return false;
    socket_monitor::instance().observe(*own.socket, std::weak_ptr<socket_observer>(shared_from_this()));
    return ready_.keep(own, [weak = weak_from_this()](std::uint64_t number) {
        if (const auto self = weak.lock())
            self->close_ready(number);
    });
}

void call_queue::on_lost()
{
    const std::lock_guard guard(connection_->mutex);
    ready_.close_lost();
}

void call_queue::close_ready(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    ready_.close(number);
}

void call_queue::set_time_to_connect(std::uint64_t number, const connect_options& options)
{
    const std::lock_guard guard(connection_->mutex);
    const auto c = find(number);
    if (c != calls_.end())
        c->time_to_connect.emplace(options.timeout, [weak = weak_from_this(), number] {
            if (const auto self = weak.lock())
                self->time_out(number);
        });
}

/// Returns whether the function is to be called: the operation has not completed meanwhile.
bool call_queue::begin_on_own_connection(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    const auto c = find(number);
    if (c == calls_.end())
        return false;
    c->time_to_connect.reset();
    c->may_be_running = true;
    return true;
}

/// Sets the connection's socket, which was unknown, unless the connection has been given up meanwhile.
void call_queue::set_socket(std::uint64_t number, const std::shared_ptr<connection_socket>& socket)
{
    const std::lock_guard guard(connection_->mutex);
    for (auto* calls : {&calls_, &detached_}) {
        const auto c = std::ranges::find(*calls, number, &pending_call::number);
        if (c != calls->end()) {
            c->socket = socket;
            connection_->use = connection_use(socket);
            connection_->socket = socket;
            return;
        }
    }
}

void call_queue::on_returned(std::uint64_t number, failure f)
{
    const std::lock_guard guard(connection_->mutex);
    on_returned_locked(number, std::move(f));
}

void call_queue::on_returned_locked(std::uint64_t number, failure f)
{
    if (exclusive_ == number)
        exclusive_ = 0;
    std::erase_if(detached_, [&](const pending_call& c) { return c.number == number; });
    const auto c = find(number);
    if (c != calls_.end())
        complete(c, std::move(f), true);
    start_waiting();
}

void call_queue::time_out(std::uint64_t number)
{
    const std::lock_guard guard(connection_->mutex);
    const auto c = find(number);
    if (c != calls_.end() && c->time_to_connect) {
        free_thread(*c, interruption::always);
        complete(c, open_timed_out());
    }
    start_waiting();
}

void call_queue::cancel(std::uint64_t number, asio::cancellation_type type)
{
    const std::lock_guard guard(connection_->mutex);
    const auto c = find(number);
    if (c == calls_.end())
        return;
    const bool is_running = c->is_started() && !withdraw(*c) && c->may_be_running;
    if (!is_running || has(type, asio::cancellation_type::terminal)) {
        free_thread(*c, interruption::always);
        complete(c, aborted);
    }
    else if (has(type, asio::cancellation_type::partial)) {
        c->detach();
        detached_.splice(detached_.end(), calls_, c);
    }
    start_waiting();
}

} // namespace avirt::detail
