// SPDX-License-Identifier: BSL-1.0
#include "stream/stream_opening.hpp"

#include "connection/open.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/callback_transport.hpp"
#include "stream/own_connection_transport.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

/// A stream that has no transport yet, and the connection that was opened for it.
struct new_stream
{
    new_stream() = default;
    new_stream(const new_stream&) = delete;
    new_stream& operator=(const new_stream&) = delete;

    ~new_stream()
    {
        if (stream) {
            if (is_open) // No operation waits for it any more, or it cannot be used.
                virStreamAbort(stream);
            virStreamFree(stream);
        }
        if (own_connection)
            close_now(own_connection);
    }

    virStreamPtr stream = nullptr;
    virConnectPtr own_connection = nullptr;
    bool is_open = false;
};

/// Returns whether an opener used an object of another connection. libvirt has no error number for that, but
/// names the argument that is wrong: the stream. Nothing else is ever wrong with that argument.
bool is_wrong_connection(const failure& f)
{
    const auto& d = f.details;
    return d.code == VIR_ERR_INVALID_ARG && (d.str2 == "stream" || d.str2 == "st");
}

/// Looks for the socket of a connection that was opened elsewhere and on which nothing was called yet. Fails
/// if libvirt does not watch the socket.
failure find_unknown_socket(stream_origin& origin)
{
    if (origin.socket || origin.is_in_process)
        return {};
    origin.socket = find_socket(origin.connection.get(), std::make_shared<connection_socket>());
    return !origin.socket && is_unwatched(origin.connection.get()) ? unwatched_failure() : failure();
}

failure open_stream(new_stream& made, const stream_origin& origin, opener_base& opener)
{
    virConnectPtr connection = made.own_connection ? made.own_connection : origin.connection.get();
    made.stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
    auto f =
        explain_by_socket(made.stream ? opener.open(connection, made.stream) : last_failure(), origin.socket);
    made.is_open = made.stream && !f;
    return f;
}

std::shared_ptr<stream_transport> make_transport(
    const std::shared_ptr<waiting_operations>& operations, const new_stream& made,
    const stream_origin& origin, bool is_console)
{
    if (made.own_connection)
        return std::make_shared<own_connection_transport>(
            operations, made.stream, is_console, made.own_connection, origin.socket);
    using method = send_state::method;
    return std::make_shared<callback_transport>(
        operations, made.stream, is_console, origin.is_in_process ? method::direct : method::on_worker,
        origin.socket, origin.lane);
}

} // namespace

stream_origin::stream_origin(connection_reference reference, const connection_impl& c, bool shares_connection)
    : connection(std::move(reference)),
      is_in_process(c.is_in_process()),
      socket(c.socket()),
      own(shares_connection ? nullptr : c.reopen_options()),
      lane(c.lane())
{
    if (own) {
        socket = std::make_shared<connection_socket>();
        socket->uri = own->uri;
    }
}

stream_opening::stream_opening(
    const std::shared_ptr<waiting_operations>& stream,
    std::function<void(std::shared_ptr<stream_transport>)> opened)
    : stream_(stream),
      opened_(std::move(opened))
{
}

void stream_opening::start(
    stream_origin origin, std::shared_ptr<opener_base> opener, wait_handler handler,
    const asio::any_io_executor& executor, error_details* details)
{
    const auto lane = origin.lane;
    const auto socket = origin.socket;
    const auto own_socket = origin.own ? socket : nullptr;
    auto job = worker_pool::instance().make(
        [self = shared_from_this(), origin = std::move(origin), opener = std::move(opener)]() mutable {
            self->run(origin, *opener);
            origin.connection.drop();
        },
        lane);
    on_cancel(handler, [weak = weak_from_this()](asio::cancellation_type) {
        if (const auto self = weak.lock())
            self->if_pending([&](auto&) { self->cancel(); });
    });
    operation_.start(std::move(handler), executor, details);
    own_socket_ = own_socket;
    is_connecting_ = own_socket != nullptr;
    use_ = connection_use(socket);
    job_ = std::move(job);
    if (const auto no_thread = worker_pool::instance().submit(job_))
        complete(no_thread);
}

void stream_opening::cancel() noexcept
{
    operation_.complete(error_code(asio::error::operation_aborted));
    abandon();
}

std::optional<pending_operation<void(error_code)>::state> stream_opening::shut_down() noexcept
{
    abandon();
    return operation_.take();
}

/// Calls function(stream) with the lock held, if the operation is still pending.
template <class Function>
void stream_opening::if_pending(Function function)
{
    if (const auto stream = stream_.lock()) {
        const std::lock_guard guard(stream->mutex());
        if (operation_)
            function(stream);
    }
}

/// Runs on a worker thread.
void stream_opening::run(stream_origin& origin, opener_base& opener)
{
    failure f;
    virConnectPtr own_connection = origin.own ? connect(origin, f) : nullptr;
    const daemon_wait work(origin.socket);
    new_stream made;
    made.own_connection = own_connection;
    if (!f)
        f = find_unknown_socket(origin);
    if (!f)
        f = open_stream(made, origin, opener);
    if (is_wrong_connection(f))
        f.code = error::wrong_connection;
    if_pending([&](const auto& stream) {
        if (made.is_open) {
            auto transport = make_transport(stream, made, origin, opener.is_console());
            f = transport->listen();
            if (!f) {
                opened_(std::move(transport));
                made.stream = nullptr;
                made.own_connection = nullptr;
            }
        }
        complete(std::move(f));
    });
}

virConnectPtr stream_opening::connect(const stream_origin& origin, failure& why)
{
    if_pending([&](auto&) { limit_time_to_connect(origin.own->timeout); });
    virConnectPtr connection = connect_for_stream(*origin.own, origin.socket, why);
    bool is_pending = false;
    if_pending([&](auto&) {
        is_pending = true;
        is_connecting_ = false;
        time_to_connect_.reset();
    });
    if (!is_pending && !why) // The connection is interrupted: no stream may be opened on it.
        why = error_code(asio::error::operation_aborted);
    return connection;
}

void stream_opening::limit_time_to_connect(std::chrono::milliseconds limit)
{
    time_to_connect_.emplace(limit, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self)
            return;
        self->if_pending([&](auto&) {
            if (!self->time_to_connect_) // It has connected just now.
                return;
            self->operation_.complete(open_timed_out());
            self->abandon();
        });
    });
}

void stream_opening::complete(failure f)
{
    job_.reset();
    own_socket_.reset();
    use_.end();
    operation_.complete(std::move(f));
}

/// Stops waiting for the worker thread. A connection that is being opened is cut off. Once the opener runs,
/// its connection is cut off only if the daemon stays silent, by close_deadline: the daemon of libvirt 9.0
/// may crash if it loses a connection in the middle of an opener. An opener that is answered closes what it
/// opened.
void stream_opening::abandon() noexcept
{
    time_to_connect_.reset();
    use_.end();
    const auto job = std::exchange(job_, nullptr);
    const auto socket = std::exchange(own_socket_, nullptr);
    if (job && !worker_pool::instance().abandon(job) && socket && is_connecting_)
        socket_monitor::instance().interrupt(*socket);
}

} // namespace avirt::detail
