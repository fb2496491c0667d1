// SPDX-License-Identifier: BSL-1.0
#include <avirt/async_stream.hpp>

#include "connection/connection_reference.hpp"
#include "connection/open.hpp"
#include "core/context_objects.hpp"
#include "core/pending_operation.hpp"
#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_use.hpp"
#include "loop/deadline.hpp"
#include "loop/event_registry.hpp"
#include "loop/socket_monitor.hpp"
#include "stream/stream_transport.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <array>
#include <optional>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

/// What a stream is opened on: a connection of the application's, or one of its own to the same daemon.
struct stream_origin
{
    connection_reference connection;
    bool is_in_process;
    std::shared_ptr<connection_socket> socket;  // null: not known, or in this process
    std::shared_ptr<const connect_options> own; // null: on the application's
    std::shared_ptr<job_lane> lane;             // the application's connection's
};

/// libvirt has no number of its own for it, but names its own argument that is wrong: the stream. Nothing
/// else is ever wrong with that.
bool is_wrong_connection(const failure& f)
{
    const auto& d = f.details;
    return d.code == VIR_ERR_INVALID_ARG && (d.str2 == "stream" || d.str2 == "st");
}

class stream_impl_object final : public stream_impl,
                                 public context_object,
                                 public stream_operations,
                                 public std::enable_shared_from_this<stream_impl_object>
{
public:
    explicit stream_impl_object(const asio::any_io_executor& executor) : executor_(executor) {}

    virStreamPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(mutex());
        return transport_ ? transport_->stream() : nullptr;
    }

    void adopt(virStreamPtr stream) override
    {
        const std::lock_guard guard(mutex());
        // Where it leads is not known: the careful way.
        transport_ =
            make_callback_transport(operations(), stream, false, true, nullptr, std::make_shared<job_lane>());
        transport_->listen(); // A read will tell where that fails.
    }

    virStreamPtr release() override
    {
        const std::lock_guard guard(mutex());
        abort_all();
        const auto transport = std::exchange(transport_, nullptr);
        return transport ? transport->release() : nullptr;
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex());
        abort_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex());
        const bool is_stuck = static_cast<bool>(write_);
        abort_all();
        if (!transport_)
            return;
        if (is_stuck) // Behind what the daemon does not read nobody gets through.
            transport_->interrupt();
        end(&virStreamAbort, 0);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex());
        const auto open = open_.take();
        const auto read = read_.take();
        const auto write = write_.take();
        const auto end = end_.take();
        const std::array waits{waits_[0].take(), waits_[1].take(), waits_[2].take()};
        abandon_open();
        if (transport_)
            transport_->cancel_send(true);
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very stream.
    }

    void async_open(
        const connection_impl& connection, bool shares_connection, std::shared_ptr<opener_base> opener,
        wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
        auto reference = connection_reference::adopt(connection.add_reference());
        const auto refused = open_ || end_           ? error::operation_in_progress
            : transport_                             ? error::already_open
            : !reference.get()                       ? error::not_open
            : !event_registry::instance().is_bound() ? error::no_event_loop
                                                     : error{};
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused);
        stream_origin origin{
            std::move(reference), connection.is_in_process(), connection.socket(), nullptr,
            connection.lane()};
        if (!shares_connection)
            origin.own = connection.reopen_options();
        if (origin.own) {
            origin.socket = std::make_shared<connection_socket>();
            origin.socket->uri = origin.own->uri;
        }
        const auto lane = origin.lane;
        const auto socket = origin.socket;
        const auto own_socket = origin.own ? socket : nullptr;
        auto job = worker_pool::instance().make(
            [self = shared_from_this(), origin = std::move(origin), opener = std::move(opener),
             number = open_.number() + 1]() mutable {
                self->open_on_worker(origin, *opener, number);
                origin.connection.drop();
            },
            lane);
        cancel_with(handler, open_, [](auto& self, asio::cancellation_type) {
            self.open_.complete(aborted);
            self.abandon_open();
        });
        open_.start(std::move(handler), executor_, details);
        open_socket_ = own_socket;
        open_use_ = connection_use(socket);
        open_job_ = std::move(job);
        if (const auto no_thread = worker_pool::instance().submit(open_job_))
            end_open(no_thread);
    }

    bool try_read(asio::mutable_buffer buffer, io_result& result) override
    {
        const std::lock_guard guard(mutex());
        return try_read_locked(buffer, result);
    }

    bool try_write(asio::const_buffer buffer, io_result& result) override
    {
        const std::lock_guard guard(mutex());
        return try_write_locked(buffer, result);
    }

    bool sends_on_worker() const noexcept override
    {
        const std::lock_guard guard(mutex());
        return transport_ && transport_->sends_on_worker();
    }

    void async_read(asio::mutable_buffer buffer, io_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return;
        io_result result;
        if (try_read_locked(buffer, result)) // It may have come meanwhile, on the loop's thread.
            return complete_now(
                executor_, std::move(handler), details, std::move(result.ending), result.bytes);
        cancel_with(
            handler, read_, [](auto& self, asio::cancellation_type) { self.read_.complete(aborted, 0); });
        read_.start(std::move(handler), executor_, details);
        read_buffer_ = buffer;
        transport_->await(stream_wait_type::read);
    }

    void async_write(asio::const_buffer buffer, io_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return;
        io_result result;
        if (try_write_locked(buffer, result))
            return complete_now(
                executor_, std::move(handler), details, std::move(result.ending), result.bytes);
        cancel_with(handler, write_, [](auto& self, asio::cancellation_type type) {
            const bool is_terminal =
                (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
            if (self.transport_->cancel_send(is_terminal))
                self.write_.complete(aborted, 0);
        });
        write_.start(std::move(handler), executor_, details);
        write_buffer_ = buffer;
        transport_->await_send(buffer);
    }

    void async_wait(stream_wait_type type, wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return;
        auto& wait = wait_for(type);
        if (!transport_ || wait)
            return complete_now(
                executor_, std::move(handler), details,
                transport_ ? error::operation_in_progress : error::not_open);
        if (transport_->is_ready(type))
            return complete_now(executor_, std::move(handler), details, failure());
        cancel_with(handler, wait, [type](auto& self, asio::cancellation_type) {
            self.wait_for(type).complete(aborted);
        });
        wait.start(std::move(handler), executor_, details);
        transport_->await(type);
    }

    void async_finish(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamFinish, std::move(handler), details);
    }

    void async_abort(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamAbort, std::move(handler), details);
    }

    void retry_read() override
    {
        retry(stream_wait_type::read);
        io_result result;
        if (read_ && transport_->try_receive(read_buffer_, result))
            read_.complete(std::move(result.ending), result.bytes);
        retry(stream_wait_type::error); // Behind the read that may find the end.
    }

    void retry_write() override
    {
        retry(stream_wait_type::write);
        if (!write_)
            return;
        io_result result;
        if (transport_->try_send(write_buffer_, result))
            write_.complete(std::move(result.ending), result.bytes);
        else
            transport_->await_send(write_buffer_);
    }

    int awaited() const noexcept override
    {
        const auto is_awaited = [&](stream_wait_type type) {
            return static_cast<bool>(waits_[static_cast<std::size_t>(type)]);
        };
        return (read_ || is_awaited(stream_wait_type::read) ? VIR_STREAM_EVENT_READABLE : 0)
            | (write_ || is_awaited(stream_wait_type::write) ? VIR_STREAM_EVENT_WRITABLE : 0);
    }

private:
    std::weak_ptr<stream_operations> operations()
    {
        return std::shared_ptr<stream_operations>(shared_from_this());
    }

    pending_operation<void(error_code)>& wait_for(stream_wait_type type) noexcept
    {
        return waits_[static_cast<std::size_t>(type)];
    }

    void retry(stream_wait_type type)
    {
        auto& wait = wait_for(type);
        if (!wait)
            return;
        if (transport_->is_ready(type))
            wait.complete({});
        else
            transport_->await(type);
    }

    bool try_read_locked(asio::mutable_buffer buffer, io_result& result)
    {
        if (buffer.size() == 0)
            return true;
        if (transport_ && !read_) {
            const bool is_over = transport_->try_receive(buffer, result);
            if (result.ending)
                retry(stream_wait_type::error);
            return is_over;
        }
        result.ending = transport_ ? error::operation_in_progress : error::not_open;
        return true;
    }

    bool try_write_locked(asio::const_buffer buffer, io_result& result)
    {
        if (buffer.size() == 0)
            return true;
        if (transport_ && !write_)
            return transport_->try_send(buffer, result);
        result.ending = transport_ ? error::operation_in_progress : error::not_open;
        return true;
    }

    /// Has a cancellation of the operation that is about to start call function(*this, type), locked.
    template <class Handler, class Pending, class Function>
    void cancel_with(const Handler& handler, const Pending& operation, Function function)
    {
        on_cancel(
            handler,
            [weak = weak_from_this(), &operation, n = operation.number() + 1,
             function](asio::cancellation_type type) {
                const auto self = weak.lock();
                if (!self)
                    return;
                const std::lock_guard guard(self->mutex());
                if (operation && operation.number() == n)
                    function(*self, type);
            });
    }

    /// A thread that is stuck there is freed at the cost of the connection, where that is the stream's own.
    void abandon_open() noexcept
    {
        time_to_connect_.reset();
        open_use_.end();
        const auto job = std::exchange(open_job_, nullptr);
        const auto socket = std::exchange(open_socket_, nullptr);
        if (job && !worker_pool::instance().abandon(job) && socket)
            socket_monitor::instance().interrupt(*socket);
    }

    void abort_transfer() noexcept
    {
        open_.complete(aborted);
        abandon_open();
        read_.complete(aborted, 0);
        for (auto& w : waits_)
            w.complete(aborted);
        if (transport_)
            transport_->cancel_send(true);
        write_.complete(aborted, 0);
    }

    void abort_end() noexcept
    {
        if (end_)
            ending_->interrupt();
        end_.complete(aborted);
        ending_.reset();
    }

    void abort_all() noexcept
    {
        abort_transfer();
        abort_end();
    }

    // Opening ---------------------------------------------------------------------------------------------

    void open_on_worker(stream_origin& origin, opener_base& opener, std::uint64_t number)
    {
        failure f;
        virConnectPtr own = origin.own ? connect_in_time(origin, number, f) : nullptr;
        const daemon_wait work(origin.socket);
        virStreamPtr stream = nullptr;
        bool was_opened = false;
        if (!origin.socket && !origin.is_in_process) { // Opened elsewhere, and nothing was called on it yet.
            origin.socket = find_socket(origin.connection.get(), std::make_shared<connection_socket>());
            if (!origin.socket && is_unwatched(origin.connection.get()))
                f = unwatched_failure();
        }
        if (!f) {
            virConnectPtr connection = own ? own : origin.connection.get();
            stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
            f = explain_by_socket(stream ? opener.open(connection, stream) : last_failure(), origin.socket);
            was_opened = stream && !f;
        }
        if (is_wrong_connection(f))
            f.code = error::wrong_connection;
        {
            const std::lock_guard guard(mutex());
            if (open_ && open_.number() == number) {
                if (was_opened) {
                    transport_ = own ? make_own_connection_transport(
                                     operations(), stream, opener.is_console(), own, origin.socket)
                                     : make_callback_transport(
                                         operations(), stream, opener.is_console(), !origin.is_in_process,
                                         origin.socket, origin.lane);
                    f = transport_->listen();
                    if (f) {
                        transport_.reset();
                    }
                    else {
                        stream = nullptr;
                        own = nullptr;
                    }
                }
                end_open(std::move(f));
            }
        }
        if (stream) {
            if (was_opened) // Nobody waits for it any more, or it cannot be used.
                virStreamAbort(stream);
            virStreamFree(stream);
        }
        if (own)
            close_now(own);
    }

    virConnectPtr connect_in_time(const stream_origin& origin, std::uint64_t number, failure& why)
    {
        {
            const std::lock_guard guard(mutex());
            if (open_ && open_.number() == number)
                time_to_connect_.emplace(origin.own->timeout, [weak = weak_from_this(), number] {
                    if (const auto self = weak.lock())
                        self->connecting_takes_too_long(number);
                });
        }
        virConnectPtr connection = connect_for_stream(*origin.own, origin.socket, why);
        const std::lock_guard guard(mutex());
        if (open_ && open_.number() == number)
            time_to_connect_.reset();
        return connection;
    }

    void connecting_takes_too_long(std::uint64_t number)
    {
        const std::lock_guard guard(mutex());
        if (open_.number() != number || !open_ || !time_to_connect_)
            return;
        open_.complete(open_timed_out());
        abandon_open();
    }

    void end_open(failure f)
    {
        open_job_.reset();
        open_socket_.reset();
        open_use_.end();
        open_.complete(std::move(f));
    }

    // Ending ----------------------------------------------------------------------------------------------

    void async_end(int (*function)(virStreamPtr), wait_handler handler, error_details* details)
    {
        const std::lock_guard guard(mutex());
        if (!executor_)
            return;
        const bool is_busy = end_ || (write_ && function == &virStreamFinish);
        if (is_busy || !transport_)
            return complete_now(
                executor_, std::move(handler), details,
                is_busy ? error::operation_in_progress : error::not_open);
        abort_transfer();
        cancel_with(handler, end_, [](auto& self, asio::cancellation_type) { self.abort_end(); });
        end_.start(std::move(handler), executor_, details);
        ending_ = transport_;
        end(function, end_.number());
    }

    /// @p number tells the operation that waits for it; 0: none does.
    void end(int (*function)(virStreamPtr), std::uint64_t number)
    {
        const auto transport = std::exchange(transport_, nullptr);
        transport->stop_listening([self = shared_from_this(), transport, function, number] {
            auto& pool = worker_pool::instance();
            const auto no_thread = pool.submit(pool.make([self, transport, function, number] {
                self->ending_is_over(number, transport->finish(function, self->awaits_end(number)));
                transport->dispose();
            }));
            if (no_thread) // It is ended later.
                self->tell_later(number, no_thread);
        });
    }

    /// The caller may have the lock.
    void tell_later(std::uint64_t number, const error_code& why)
    {
        struct ended
        {
            std::shared_ptr<stream_impl_object> self;
            std::uint64_t number;
            error_code why;
        };

        event_registry::instance().defer(
            [](void* argument) {
                const std::unique_ptr<ended> e(static_cast<ended*>(argument));
                e->self->ending_is_over(e->number, e->why);
            },
            new ended{shared_from_this(), number, why});
    }

    bool awaits_end(std::uint64_t number) const
    {
        const std::lock_guard guard(mutex());
        return end_ && end_.number() == number;
    }

    void ending_is_over(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex());
        if (end_.number() != number)
            return;
        end_.complete(std::move(f));
        ending_.reset();
    }

    asio::any_io_executor executor_;
    std::shared_ptr<stream_transport> transport_; // null: not open

    pending_operation<void(error_code)> open_;
    std::shared_ptr<worker_pool::job> open_job_;
    std::shared_ptr<connection_socket> open_socket_; // of a connection of its own
    connection_use open_use_;
    std::optional<deadline> time_to_connect_;

    pending_operation<void(error_code, std::size_t)> read_;
    asio::mutable_buffer read_buffer_;

    pending_operation<void(error_code, std::size_t)> write_;
    asio::const_buffer write_buffer_;

    std::array<pending_operation<void(error_code)>, 3> waits_; // by stream_wait_type

    pending_operation<void(error_code)> end_;
    std::shared_ptr<stream_transport> ending_; // while somebody waits for it
};

} // namespace

stream_impl::~stream_impl() = default;

std::shared_ptr<stream_impl> stream_impl::make(const asio::any_io_executor& executor)
{
    auto object = std::make_shared<stream_impl_object>(executor);
    context_objects::of(executor)->add(object);
    return object;
}

} // namespace avirt::detail
