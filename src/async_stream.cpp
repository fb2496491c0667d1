// SPDX-License-Identifier: BSL-1.0
#include <avirt/async_stream.hpp>

#include "connect.hpp"
#include "connection_reference.hpp"
#include "context_service.hpp"
#include "event_registry.hpp"
#include "pending.hpp"
#include "worker_pool.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <string_view>
#include <vector>

namespace avirt::detail {
namespace {

constexpr int readable = VIR_STREAM_EVENT_READABLE;
constexpr int writable = VIR_STREAM_EVENT_WRITABLE;
constexpr int ended = VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP;

/// What one send on a worker takes at most: it is copied, because the operation may be cancelled while
/// libvirt still reads it.
constexpr std::size_t worker_send_size = 64 * 1024;

/// What the daemon takes in one piece, and sends.
constexpr std::size_t largest_packet = 262120;

const error_code aborted = asio::error::operation_aborted;

/// libvirt's answer to virStreamRecv and virStreamSend where nothing can be done now.
constexpr int would_block = -2;

std::size_t at_most_int(std::size_t size) noexcept
{
    return std::min<std::size_t>(size, std::numeric_limits<int>::max());
}

class stream_impl_object;

/// What libvirt's stream callback refers to. It is destroyed where no dispatch can be on its way to it.
struct stream_binding
{
    std::shared_ptr<stream_impl_object> impl;
};

/// A stream on its way out. The callback is removed by a deferred function, because libvirt's own dispatch
/// of a stream must not race with its end (docs/libvirt.md, "Streams"); the rest blocks, on a worker.
struct stream_ending
{
    virStreamPtr stream;
    std::unique_ptr<stream_binding> binding;
    int (*end)(virStreamPtr);
    std::shared_ptr<stream_impl_object> impl;
    std::uint64_t number; // of the finish or abort that waits for it; 0: nobody
    virConnectPtr own;    // ends with the stream
    std::shared_ptr<connection_link> link;
};

/// What a stream is opened on: a connection of the application's, or one of its own to the same daemon.
struct stream_origin
{
    connection_reference connection;
    bool is_in_process;
    std::shared_ptr<connection_link> link; // null: not known, or in this process
    std::optional<open_options> own;
};

class stream_impl_object final : public stream_impl,
                                 public context_object,
                                 public link_observer,
                                 public std::enable_shared_from_this<stream_impl_object>
{
public:
    explicit stream_impl_object(const asio::any_io_executor& executor) : executor_(executor) {}

    virStreamPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return stream_;
    }

    void adopt(virStreamPtr stream) override
    {
        const std::lock_guard guard(mutex_);
        is_in_process_ = false; // Not known: the careful way.
        stream_ = stream;
        receive_failure_ = add_callback();
    }

    virStreamPtr release() override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
        if (binding_) {
            virStreamEventRemoveCallback(stream_);
            event_registry::instance().defer(&destroy_binding, binding_.release());
        }
        if (own_) {
            event_registry::instance().resume(*link_);
            release_later([](void* c) { virConnectClose(static_cast<virConnectPtr>(c)); }, own_);
        }
        own_ = nullptr; // The stream refers to its connection.
        link_.reset();
        return std::exchange(stream_, nullptr);
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        const bool is_stuck = own_ && write_; // Behind what the daemon does not read nobody gets through.
        abort_all();
        if (is_stuck)
            event_registry::instance().interrupt(*link_);
        if (stream_)
            end(&virStreamAbort, 0);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto open = open_.take();
        const auto read = read_.take();
        const auto write = write_.take();
        const auto end = end_.take();
        const std::array waits{waits_[0].take(), waits_[1].take(), waits_[2].take()};
        abandon(open_job_, open_link_);
        abandon(write_job_);
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very stream.
    }

    void async_open(
        const connection_impl& connection, bool shares_connection, std::shared_ptr<opener_base> opener,
        wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
        virConnectPtr native = connection.native_handle();
        const auto refused = open_ || end_           ? error::operation_in_progress
            : stream_                                ? error::already_open
            : !native                                ? error::not_open
            : !event_registry::instance().is_bound() ? error::no_event_loop
                                                     : error{};
        if (refused != error{})
            return complete_now(std::move(handler), details, refused);
        cancel_with(handler, open_, [](auto& self, asio::cancellation_type) {
            self.open_.complete(aborted);
            self.abandon(self.open_job_, self.open_link_);
        });
        open_.start(std::move(handler), executor_, details);
        stream_origin origin{
            connection_reference(native), connection.is_in_process(), connection.link(), std::nullopt};
        if (!shares_connection)
            origin.own = connection.reopen_options();
        if (origin.own) {
            origin.link = std::make_shared<connection_link>();
            origin.link->uri = origin.own->uri;
            open_link_ = origin.link;
        }
        open_job_ =
            worker_pool::instance().submit([self = shared_from_this(), origin = std::move(origin),
                                            opener = std::move(opener), number = open_.number()]() mutable {
                self->open_on_worker(origin, *opener, number);
                origin.connection.drop();
            });
    }

    bool try_read(asio::mutable_buffer buffer, io_result& result) override
    {
        const std::lock_guard guard(mutex_);
        return try_read_locked(buffer, result);
    }

    bool try_write(asio::const_buffer buffer, io_result& result) override
    {
        const std::lock_guard guard(mutex_);
        return try_write_locked(buffer, result);
    }

    void async_read(asio::mutable_buffer buffer, io_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        io_result result;
        if (try_read_locked(buffer, result)) // It may have come meanwhile, on the loop's thread.
            return complete_now(std::move(handler), details, std::move(result));
        cancel_with(
            handler, read_, [](auto& self, asio::cancellation_type) { self.read_.complete(aborted, 0); });
        read_.start(std::move(handler), executor_, details);
        read_buffer_ = buffer;
        arm(readable);
    }

    void async_write(asio::const_buffer buffer, io_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        io_result result;
        if (try_write_locked(buffer, result))
            return complete_now(std::move(handler), details, std::move(result));
        cancel_with(handler, write_, [](auto& self, asio::cancellation_type type) {
            const bool terminal = (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
            if (self.write_job_ && !terminal && !worker_pool::instance().withdraw(self.write_job_))
                return;
            self.abandon(self.write_job_, self.link_);
            self.write_.complete(aborted, 0);
        });
        write_.start(std::move(handler), executor_, details);
        write_buffer_ = buffer;
        if (is_in_process_ || own_)
            arm(writable);
        else
            send_on_worker();
    }

    void async_wait(stream_wait_type type, wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        auto& wait = waits_[static_cast<std::size_t>(type)];
        if (!stream_ || wait)
            return complete_now(
                std::move(handler), details, stream_ ? error::operation_in_progress : error::not_open);
        if (is_ready(type))
            return complete_now(std::move(handler), details, failure());
        cancel_with(handler, wait, [type](auto& self, asio::cancellation_type) {
            self.waits_[static_cast<std::size_t>(type)].complete(aborted);
        });
        wait.start(std::move(handler), executor_, details);
        arm(type == stream_wait_type::read ? readable : type == stream_wait_type::write ? writable : ended);
    }

    void async_finish(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamFinish, std::move(handler), details);
    }

    void async_abort(wait_handler handler, error_details* details) override
    {
        async_end(&virStreamAbort, std::move(handler), details);
    }

    /// libvirt's callback, on the thread that dispatches. Nothing is called from here but libvirt's stream:
    /// handlers are posted.
    void on_event(int events)
    {
        const std::lock_guard guard(mutex_);
        if (!stream_)
            return; // It is on its way out.
        if (events == VIR_STREAM_EVENT_ERROR && !event_registry::instance().is_dispatching_here())
            return aborted_by_libvirt();
        if (events & ended)
            has_ended_ = true;
        if (events & (readable | ended))
            on_stream_readable();
        if (events & (writable | ended))
            on_stream_writable();
        if (events & ended) {
            wait(stream_wait_type::error).complete({});
            disarm(ended);
        }
    }

    // On a connection of its own the stream has no callback: whatever comes is its own.

    void on_served() override
    {
        const std::lock_guard guard(mutex_);
        if (own_)
            take_in();
    }

    void on_writable() override
    {
        const std::lock_guard guard(mutex_);
        if (!own_)
            return;
        wait(stream_wait_type::write).complete({});
        if (!write_)
            return;
        io_result result;
        if (try_send(write_buffer_, result))
            write_.complete(std::move(result.ending), result.bytes);
        else
            arm(writable);
    }

    void on_hung_up() override
    {
        const std::lock_guard guard(mutex_);
        if (own_)
            end_by_loss();
    }

    void on_lost() override
    {
        const std::lock_guard guard(mutex_);
        if (!stream_ || !link_)
            return;
        is_lost_ = true;
        take_in();
        end_by_loss();
    }

    void ending_is_over(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (end_.number() != number)
            return;
        end_.complete(std::move(f));
        ending_link_.reset();
    }

private:
    void complete_now(wait_handler handler, error_details* details, failure f)
    {
        pending<void(error_code)> p;
        p.start(std::move(handler), executor_, details);
        p.complete(std::move(f));
    }

    void complete_now(io_handler handler, error_details* details, io_result result)
    {
        pending<void(error_code, std::size_t)> p;
        p.start(std::move(handler), executor_, details);
        p.complete(std::move(result.ending), result.bytes);
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
                const std::lock_guard guard(self->mutex_);
                if (operation && operation.number() == n)
                    function(*self, type);
            });
    }

    /// The job's thread is freed at the cost of the connection, where that is known.
    static void abandon(
        std::shared_ptr<worker_pool::job>& job, const std::shared_ptr<connection_link>& link = {}) noexcept
    {
        if (!job)
            return;
        const bool was_dropped = worker_pool::instance().abandon(std::exchange(job, nullptr));
        if (!was_dropped && link)
            event_registry::instance().interrupt(*link);
    }

    pending<void(error_code)>& wait(stream_wait_type type) noexcept
    {
        return waits_[static_cast<std::size_t>(type)];
    }

    void abort_reads() noexcept
    {
        open_.complete(aborted);
        abandon(open_job_, open_link_);
        read_.complete(aborted, 0);
        for (auto& w : waits_)
            w.complete(aborted);
    }

    void abort_all() noexcept
    {
        abort_reads();
        abandon(write_job_, link_);
        write_.complete(aborted, 0);
        abort_end();
    }

    void abort_end() noexcept
    {
        if (end_ && ending_link_)
            event_registry::instance().interrupt(*ending_link_);
        end_.complete(aborted);
    }

    // Opening ---------------------------------------------------------------------------------------------

    void open_on_worker(stream_origin& origin, opener_base& opener, std::uint64_t number)
    {
        virConnectPtr own = origin.own ? connect_for_stream(*origin.own, origin.link) : nullptr;
        virStreamPtr stream = nullptr;
        failure f;
        bool was_opened = false;
        if (!own && origin.own) {
            f = last_failure();
        }
        else {
            virConnectPtr connection = own ? own : origin.connection.get();
            stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
            f = stream ? opener.open(connection, stream) : last_failure();
            was_opened = stream && !f;
        }
        if (is_wrong_connection(f))
            f.code = error::wrong_connection;
        {
            const std::lock_guard guard(mutex_);
            if (open_ && open_.number() == number) {
                open_job_.reset();
                open_link_.reset();
                if (was_opened) {
                    start(stream, own, origin, opener);
                    f = listen();
                    if (f) {
                        stream_ = nullptr;
                        own_ = nullptr;
                    }
                    else {
                        stream = nullptr;
                        own = nullptr;
                    }
                }
                open_.complete(std::move(f));
            }
        }
        if (stream) {
            if (was_opened) // Nobody waits for it any more, or it cannot be used.
                virStreamAbort(stream);
            virStreamFree(stream);
        }
        if (own)
            virConnectClose(own);
    }

    void start(virStreamPtr stream, virConnectPtr own, const stream_origin& origin, const opener_base& opener)
    {
        stream_ = stream;
        own_ = own;
        link_ = origin.link;
        is_in_process_ = origin.is_in_process;
        is_console_ = opener.is_console();
        is_at_eof_ = is_readable_ = is_writable_ = has_ended_ = false;
        is_paused_ = own_ != nullptr; // See connect_for_stream().
        has_backlog_ = is_cut_off_ = is_lost_ = false;
        peeked_.reset();
        receive_failure_ = {};
        mask_ = 0;
    }

    failure listen()
    {
        if (link_)
            event_registry::instance().observe(*link_, std::weak_ptr<link_observer>(shared_from_this()));
        if (!own_)
            return add_callback();
        take_in(); // What came along with the answer to the opener.
        if (link_->socket < 0) {
            is_lost_ = true; // Before we were listening.
            take_in();
            end_by_loss();
        }
        return {};
    }

    static bool is_wrong_connection(const failure& f)
    {
        // libvirt has no number of its own for it.
        return f.details.code == VIR_ERR_INVALID_ARG
            && f.details.message.find("stream must match connection") != std::string::npos;
    }

    failure add_callback()
    {
        // Once in a stream's life, and without a free callback: what libvirt does beyond that differs from
        // driver to driver and version to version (docs/libvirt.md, "Streams").
        auto binding = std::make_unique<stream_binding>(stream_binding{shared_from_this()});
        const auto callback = [](virStreamPtr, int events, void* opaque) {
            static_cast<stream_binding*>(opaque)->impl->on_event(events);
        };
        if (virStreamEventAddCallback(stream_, 0, callback, binding.get(), nullptr) < 0)
            return last_failure();
        binding_ = std::move(binding);
        return {};
    }

    /// The driver in this process has aborted the stream, for another opener that was to have the console by
    /// force. We are called by the thread that does it, and the watch would outlive its file if it were not
    /// removed here (docs/libvirt.md, "Consoles of the embedded driver").
    void aborted_by_libvirt()
    {
        error_details d;
        d.code = VIR_ERR_INTERNAL_ERROR;
        d.message = "libvirt aborted the stream";
        const failure why =
            refine({error_code(d.code, libvirt_category()), std::move(d)}, condition::console_taken_over);
        virStreamEventRemoveCallback(stream_);
        event_registry::instance().defer(&destroy_binding, binding_.release());
        has_ended_ = true;
        receive_failure_ = why;
        read_.complete(why, 0);
        abandon(write_job_);
        write_.complete(why, 0);
        for (auto& w : waits_)
            w.complete({});
    }

    static void destroy_binding(void* binding)
    {
        delete static_cast<stream_binding*>(binding);
    }

    // The mask of events. A watch that is not wanted any more is disarmed when it reports next: between two
    // operations of a busy stream it would only be switched off and on.

    void arm(int events)
    {
        if (own_) {
            if (events & writable)
                event_registry::instance().await_writable(*link_);
        }
        else if ((mask_ & events) != events)
            set_mask(mask_ | events);
    }

    void disarm(int events)
    {
        if (mask_ & events)
            set_mask(mask_ & ~events);
    }

    void set_mask(int mask)
    {
        mask_ = mask;
        if (binding_)
            virStreamEventUpdateCallback(stream_, mask);
    }

    // Reading ---------------------------------------------------------------------------------------------

    void on_stream_readable()
    {
        is_readable_ = true;
        const bool is_wanted = read_ || wait(stream_wait_type::read);
        wait(stream_wait_type::read).complete({});
        if (read_) {
            io_result result;
            if (receive(read_buffer_, result))
                read_.complete(std::move(result.ending), result.bytes);
        }
        if (!is_wanted)
            disarm(readable);
    }

    bool try_read_locked(asio::mutable_buffer buffer, io_result& result)
    {
        if (buffer.size() == 0)
            return true;
        if (!stream_)
            result.ending = error::not_open;
        else if (read_)
            result.ending = error::operation_in_progress;
        else if (is_at_eof_)
            result.ending = error_code(asio::error::eof);
        else if (receive_failure_)
            result.ending = receive_failure_;
        else
            return (peeked_ || is_readable_) && receive(buffer, result);
        return true;
    }

    bool receive(asio::mutable_buffer buffer, io_result& result)
    {
        if (peeked_) {
            *static_cast<char*>(buffer.data()) = *std::exchange(peeked_, std::nullopt);
            result.bytes = 1;
            buffer += 1;
        }
        if (buffer.size() != 0 && is_readable_) {
            result.bytes += receive(buffer);
            if (result.bytes == 0 && is_at_eof_)
                result.ending = error_code(asio::error::eof);
            else if (result.bytes == 0 && receive_failure_)
                result.ending = receive_failure_;
        }
        control_flow();
        return result.bytes != 0 || result.ending;
    }

    /// On a shared connection only where libvirt reported the stream readable, and once: some of its streams
    /// spin inside virStreamRecv until data comes (docs/libvirt.md, "Streams"). Returns 0 also at the end.
    std::size_t receive(asio::mutable_buffer buffer)
    {
        is_readable_ = false;
        has_backlog_ = false;
        const int n = virStreamRecv(stream_, static_cast<char*>(buffer.data()), at_most_int(buffer.size()));
        if (n > 0) {
            const auto bytes = static_cast<std::size_t>(n);
            is_readable_ = own_ != nullptr; // Until libvirt says that there is no more.
            has_backlog_ = own_ && bytes == buffer.size();
            return bytes;
        }
        if (n == 0)
            is_at_eof_ = true;
        else if (n != would_block)
            receive_failure_ = explain(last_failure());
        else if (is_lost_)
            receive_failure_ = lost();
        return 0;
    }

    /// What libvirt has queued since: to the read that waits for it, or one byte to know that it is there.
    void take_in()
    {
        is_readable_ = true;
        if (read_) {
            io_result result;
            if (receive(read_buffer_, result))
                read_.complete(std::move(result.ending), result.bytes);
        }
        char c = 0;
        if (own_ && !read_ && !peeked_ && !is_at_eof_ && !receive_failure_ && !has_backlog_
            && receive(asio::buffer(&c, 1)) != 0)
            peeked_ = c;
        control_flow();
        if (peeked_ || has_backlog_ || is_at_eof_ || receive_failure_)
            wait(stream_wait_type::read).complete({});
        if (is_at_eof_ || receive_failure_) {
            has_ended_ = true;
            wait(stream_wait_type::error).complete({});
        }
    }

    /// More comes out of the socket only when libvirt's queue is empty: it has no bound, and an error that
    /// arrives behind queued data takes its place (docs/libvirt.md, "Backpressure").
    void control_flow()
    {
        const bool has_unread = peeked_ || has_backlog_;
        if (!own_ || has_unread == is_paused_)
            return;
        is_paused_ = has_unread;
        if (is_paused_)
            event_registry::instance().pause(*link_);
        else
            event_registry::instance().resume(*link_);
    }

    /// What was received is still to be read; all else ends.
    void end_by_loss()
    {
        has_ended_ = is_cut_off_ = true;
        abandon(write_job_);
        write_.complete(lost(), 0);
        for (auto& w : waits_)
            w.complete({});
    }

    failure lost() const
    {
        error_details d;
        d.domain = VIR_FROM_RPC;
        d.code = VIR_ERR_INTERNAL_ERROR;
        switch (link_->ended_by) {
        case connection_link::end::silence:
            d.message = "connection lost: the daemon does not answer";
            break;
        case connection_link::end::interrupted:
            d.message = "connection lost: it was interrupted by a cancellation";
            break;
        default:
            d.message = "connection lost: the daemon has closed it";
        }
        return refine({error_code(d.code, libvirt_category()), std::move(d)}, condition::connection_lost);
    }

    failure explain(failure f) const
    {
        // The daemon says no more than that to the stream that loses its console.
        if (is_console_ && f.details.code == VIR_ERR_RPC && f.details.domain == VIR_FROM_STREAMS)
            return refine(std::move(f), condition::console_taken_over);
        return f;
    }

    // Writing ---------------------------------------------------------------------------------------------

    void on_stream_writable()
    {
        is_writable_ = true;
        const bool is_wanted = write_ || wait(stream_wait_type::write);
        wait(stream_wait_type::write).complete({});
        if (write_ && !write_job_) {
            if (is_in_process_) {
                io_result result;
                if (send(write_buffer_, result))
                    write_.complete(std::move(result.ending), result.bytes);
            }
            else {
                send_on_worker();
            }
        }
        if (!is_wanted)
            disarm(writable);
    }

    bool try_write_locked(asio::const_buffer buffer, io_result& result)
    {
        if (buffer.size() == 0)
            return true;
        if (!stream_)
            result.ending = error::not_open;
        else if (write_)
            result.ending = error::operation_in_progress;
        else
            return try_send(buffer, result);
        return true;
    }

    bool try_send(asio::const_buffer buffer, io_result& result)
    {
        if (own_)
            return send_to_daemon(buffer, result);
        return is_in_process_ && send(buffer, result);
    }

    /// virStreamSend would block where the socket is full (docs/libvirt.md, "Sending"): no more than it
    /// takes.
    bool send_to_daemon(asio::const_buffer buffer, io_result& result)
    {
        if (is_cut_off_) {
            result.ending = lost();
            return true;
        }
        const auto size = room_to_send(*link_, std::min(buffer.size(), largest_packet));
        if (size == 0)
            return false;
        const int n =
            virStreamSend(stream_, static_cast<const char*>(buffer.data()), std::min(size, buffer.size()));
        if (n < 0)
            result.ending = explain(last_failure());
        else
            result.bytes = static_cast<std::size_t>(n);
        take_in(); // libvirt reads while it writes.
        return true;
    }

    bool send(asio::const_buffer buffer, io_result& result)
    {
        is_writable_ = false;
        const int n =
            virStreamSend(stream_, static_cast<const char*>(buffer.data()), at_most_int(buffer.size()));
        if (n == would_block && !has_ended_)
            return false;
        if (n == would_block)
            result.ending = error_code(asio::error::broken_pipe); // Nobody will ever take it.
        else if (n < 0)
            result.ending = last_failure();
        else
            result.bytes = static_cast<std::size_t>(n);
        return true;
    }

    /// Where a daemon is behind the stream, virStreamSend blocks until it has taken everything
    /// (docs/libvirt.md, "Sending").
    void send_on_worker()
    {
        const auto* data = static_cast<const char*>(write_buffer_.data());
        std::vector<char> copy(data, data + std::min(write_buffer_.size(), worker_send_size));
        virStreamRef(stream_);
        const std::shared_ptr<virStream> stream(stream_, [](virStreamPtr s) {
            release_later([](void* p) { virStreamFree(static_cast<virStreamPtr>(p)); }, s);
        });
        write_job_ = worker_pool::instance().submit(
            [self = shared_from_this(), stream, copy = std::move(copy), number = write_.number()] {
                const int n = virStreamSend(stream.get(), copy.data(), copy.size());
                self->sent(number, n, n == -1 ? last_failure() : failure());
            });
    }

    void sent(std::uint64_t number, int n, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (!write_ || write_.number() != number)
            return;
        write_job_.reset();
        if (n == would_block)
            arm(writable);
        else
            write_.complete(std::move(f), n > 0 ? static_cast<std::size_t>(n) : 0);
    }

    // Waiting ---------------------------------------------------------------------------------------------

    bool is_ready(stream_wait_type type)
    {
        if (own_ && is_readable_)
            take_in(); // To know.
        switch (type) {
        case stream_wait_type::read:
            return peeked_ || has_backlog_ || (is_readable_ && !own_) || is_at_eof_ || receive_failure_;
        case stream_wait_type::write:
            return own_ ? has_ended_ || room_to_send(*link_, 1) != 0 : is_writable_ || !is_in_process_;
        case stream_wait_type::error:
            break;
        }
        return has_ended_ || receive_failure_;
    }

    // Ending ----------------------------------------------------------------------------------------------

    void async_end(int (*function)(virStreamPtr), wait_handler handler, error_details* details)
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        const bool is_busy = end_ || (write_ && function == &virStreamFinish);
        if (is_busy || !stream_)
            return complete_now(
                std::move(handler), details, is_busy ? error::operation_in_progress : error::not_open);
        abort_reads();
        abandon(write_job_, link_);
        write_.complete(aborted, 0);
        cancel_with(handler, end_, [](auto& self, asio::cancellation_type) { self.abort_end(); });
        end_.start(std::move(handler), executor_, details);
        ending_link_ = own_ ? link_ : nullptr;
        end(function, end_.number());
    }

    void end(int (*function)(virStreamPtr), std::uint64_t number)
    {
        if (own_)
            event_registry::instance().resume(*link_);
        std::unique_ptr<stream_ending> e(new stream_ending{
            std::exchange(stream_, nullptr), std::move(binding_), function, shared_from_this(), number,
            std::exchange(own_, nullptr), std::exchange(link_, nullptr)});
        if (!e->binding)
            return end_on_worker(std::move(e));
        event_registry::instance().defer(
            [](void* p) {
                std::unique_ptr<stream_ending> ending(static_cast<stream_ending*>(p));
                virStreamEventRemoveCallback(ending->stream);
                ending->binding.reset();
                end_on_worker(std::move(ending));
            },
            e.release());
    }

    static void end_on_worker(std::shared_ptr<stream_ending> e)
    {
        worker_pool::instance().submit(
            [e = std::move(e)] {
                std::optional<closing_patience> patience;
                if (e->own && e->number == 0)
                    patience.emplace(e->link);
                auto f = e->end(e->stream) < 0 ? last_failure() : failure();
                if (f && e->link && e->link->socket < 0 && e->end == &virStreamFinish)
                    f.code = error::result_unknown;
                virStreamFree(e->stream);
                e->impl->ending_is_over(e->number, std::move(f));
                if (!e->own)
                    return;
                if (!patience)
                    patience.emplace(e->link);
                virConnectClose(e->own);
            },
            worker_pool::place::urgent);
    }

    mutable std::mutex mutex_;
    asio::any_io_executor executor_;

    virStreamPtr stream_ = nullptr;
    std::unique_ptr<stream_binding> binding_;
    int mask_ = 0;
    bool is_in_process_ = false; // virStreamSend does not block
    bool is_console_ = false;
    virConnectPtr own_ = nullptr;           // the connection of this stream alone; null: it shares one
    std::shared_ptr<connection_link> link_; // of that connection; null: not known, or in this process
    bool is_paused_ = false;
    bool is_cut_off_ = false; // Nothing can be sent any more, ...
    bool is_lost_ = false;    // ... and nothing can be received but what libvirt has queued.

    pending<void(error_code)> open_;
    std::shared_ptr<worker_pool::job> open_job_;
    std::shared_ptr<connection_link> open_link_; // of a connection of its own

    pending<void(error_code, std::size_t)> read_;
    asio::mutable_buffer read_buffer_;
    bool is_readable_ =
        false; // reported, and not used since; on a connection of its own: not known to be empty
    bool has_backlog_ = false; // the last read did not empty libvirt's queue
    std::optional<char> peeked_;
    bool is_at_eof_ = false;
    failure receive_failure_; // libvirt repeats some errors, and forgets others

    pending<void(error_code, std::size_t)> write_;
    asio::const_buffer write_buffer_;
    std::shared_ptr<worker_pool::job> write_job_;
    bool is_writable_ = false;

    std::array<pending<void(error_code)>, 3> waits_; // by stream_wait_type
    bool has_ended_ = false;

    pending<void(error_code)> end_;
    std::shared_ptr<connection_link> ending_link_; // of a connection of its own
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
