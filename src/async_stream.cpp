// SPDX-License-Identifier: BSL-1.0
#include <avirt/async_stream.hpp>

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
};

class stream_impl_object final : public stream_impl,
                                 public context_object,
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
        abort_all();
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
        abandon(open_job_);
        abandon(write_job_);
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very stream.
    }

    void async_open(
        const connection_impl& connection, std::shared_ptr<opener_base> opener, wait_handler handler,
        error_details* details) override
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
            self.abandon(self.open_job_);
        });
        open_.start(std::move(handler), executor_, details);
        open_job_ = worker_pool::instance().submit(
            [self = shared_from_this(), connection_ref = connection_reference(native),
             in_process = connection.is_in_process(), opener = std::move(opener),
             number = open_.number()]() mutable {
                self->open_on_worker(connection_ref.get(), in_process, *opener, number);
                connection_ref.drop();
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
            self.abandon(self.write_job_);
            self.write_.complete(aborted, 0);
        });
        write_.start(std::move(handler), executor_, details);
        write_buffer_ = buffer;
        if (is_in_process_)
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
            on_readable();
        if (events & (writable | ended))
            on_writable();
        if (events & ended) {
            wait(stream_wait_type::error).complete({});
            disarm(ended);
        }
    }

    void ending_is_over(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (end_.number() == number)
            end_.complete(std::move(f));
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

    static void abandon(std::shared_ptr<worker_pool::job>& job) noexcept
    {
        if (job)
            worker_pool::instance().abandon(std::exchange(job, nullptr));
    }

    pending<void(error_code)>& wait(stream_wait_type type) noexcept
    {
        return waits_[static_cast<std::size_t>(type)];
    }

    void abort_reads() noexcept
    {
        open_.complete(aborted);
        abandon(open_job_);
        read_.complete(aborted, 0);
        for (auto& w : waits_)
            w.complete(aborted);
    }

    void abort_all() noexcept
    {
        abort_reads();
        abandon(write_job_);
        write_.complete(aborted, 0);
        end_.complete(aborted);
    }

    // Opening ---------------------------------------------------------------------------------------------

    void open_on_worker(virConnectPtr connection, bool in_process, opener_base& opener, std::uint64_t number)
    {
        virStreamPtr stream = virStreamNew(connection, VIR_STREAM_NONBLOCK);
        auto f = stream ? opener.open(connection, stream) : last_failure();
        const bool was_opened = stream && !f;
        if (is_wrong_connection(f))
            f.code = error::wrong_connection;
        {
            const std::lock_guard guard(mutex_);
            if (open_ && open_.number() == number) {
                open_job_.reset();
                if (was_opened) {
                    stream_ = stream;
                    is_in_process_ = in_process;
                    is_at_eof_ = is_readable_ = is_writable_ = has_ended_ = false;
                    receive_failure_ = {};
                    mask_ = 0;
                    f = add_callback();
                    if (f)
                        stream_ = nullptr;
                    else
                        stream = nullptr;
                }
                open_.complete(std::move(f));
            }
        }
        if (!stream)
            return;
        if (was_opened) // Nobody waits for it any more, or it cannot be used.
            virStreamAbort(stream);
        virStreamFree(stream);
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
        if ((mask_ & events) != events)
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

    void on_readable()
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
            return is_readable_ && receive(buffer, result);
        return true;
    }

    /// Only where libvirt reported the stream readable, and once: some of its streams spin inside
    /// virStreamRecv until data comes (docs/libvirt.md, "Streams").
    bool receive(asio::mutable_buffer buffer, io_result& result)
    {
        is_readable_ = false;
        const int n = virStreamRecv(stream_, static_cast<char*>(buffer.data()), at_most_int(buffer.size()));
        if (n == would_block)
            return false;
        if (n > 0) {
            result.bytes = static_cast<std::size_t>(n);
        }
        else if (n == 0) {
            is_at_eof_ = true;
            result.ending = error_code(asio::error::eof);
        }
        else {
            receive_failure_ = last_failure();
            result.ending = receive_failure_;
        }
        return true;
    }

    // Writing ---------------------------------------------------------------------------------------------

    void on_writable()
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
            return is_in_process_ && send(buffer, result);
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

    bool is_ready(stream_wait_type type) const noexcept
    {
        switch (type) {
        case stream_wait_type::read:
            return is_readable_ || is_at_eof_ || receive_failure_;
        case stream_wait_type::write:
            return is_writable_ || !is_in_process_;
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
        abandon(write_job_);
        write_.complete(aborted, 0);
        cancel_with(handler, end_, [](auto& self, asio::cancellation_type) { self.end_.complete(aborted); });
        end_.start(std::move(handler), executor_, details);
        end(function, end_.number());
    }

    void end(int (*function)(virStreamPtr), std::uint64_t number)
    {
        auto* e = new stream_ending{
            std::exchange(stream_, nullptr), std::move(binding_), function, shared_from_this(), number};
        event_registry::instance().defer(
            [](void* p) {
                const std::shared_ptr<stream_ending> ending(static_cast<stream_ending*>(p));
                if (ending->binding) {
                    virStreamEventRemoveCallback(ending->stream);
                    ending->binding.reset();
                }
                worker_pool::instance().submit(
                    [ending] {
                        auto f = ending->end(ending->stream) < 0 ? last_failure() : failure();
                        virStreamFree(ending->stream);
                        ending->impl->ending_is_over(ending->number, std::move(f));
                    },
                    worker_pool::place::urgent);
            },
            e);
    }

    mutable std::mutex mutex_;
    asio::any_io_executor executor_;

    virStreamPtr stream_ = nullptr;
    std::unique_ptr<stream_binding> binding_;
    int mask_ = 0;
    bool is_in_process_ = false; // virStreamSend does not block

    pending<void(error_code)> open_;
    std::shared_ptr<worker_pool::job> open_job_;

    pending<void(error_code, std::size_t)> read_;
    asio::mutable_buffer read_buffer_;
    bool is_readable_ = false; // reported, and not used since
    bool is_at_eof_ = false;
    failure receive_failure_; // libvirt repeats some errors, and forgets others

    pending<void(error_code, std::size_t)> write_;
    asio::const_buffer write_buffer_;
    std::shared_ptr<worker_pool::job> write_job_;
    bool is_writable_ = false;

    std::array<pending<void(error_code)>, 3> waits_; // by stream_wait_type
    bool has_ended_ = false;

    pending<void(error_code)> end_;
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
