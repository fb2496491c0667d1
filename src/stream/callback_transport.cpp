// SPDX-License-Identifier: BSL-1.0
#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_use.hpp"
#include "loop/event_registry.hpp"
#include "loop/socket_monitor.hpp"
#include "loop/socket_scopes.hpp"
#include "stream/stream_transport.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <limits>
#include <new>
#include <optional>
#include <vector>

namespace avirt::detail {
namespace {

constexpr int readable = VIR_STREAM_EVENT_READABLE;
constexpr int writable = VIR_STREAM_EVENT_WRITABLE;
constexpr int ended = VIR_STREAM_EVENT_ERROR | VIR_STREAM_EVENT_HANGUP;

/// What one send on a worker takes at most: it is copied, because the operation may be cancelled while
/// libvirt still reads it.
constexpr std::size_t worker_send_size = 64 * 1024;

class callback_transport final : public stream_transport,
                                 public socket_observer,
                                 public std::enable_shared_from_this<callback_transport>
{
public:
    callback_transport(
        std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console, bool sends_block,
        std::shared_ptr<connection_socket> socket, std::shared_ptr<job_lane> lane)
        : stream_transport(std::move(operations), stream, is_console, std::move(socket)),
          sends_block_(sends_block),
          lane_(std::move(lane))
    {
    }

    failure listen() override
    {
        if (socket_)
            socket_monitor::instance().observe(*socket_, std::weak_ptr<socket_observer>(shared_from_this()));
        // Once in a stream's life, and without a free callback: what libvirt does beyond that differs from
        // driver to driver and version to version (docs/libvirt.md, "Streams").
        const auto callback = [](virStreamPtr, int events, void* self) {
            try {
                static_cast<callback_transport*>(self)->on_event(events);
            }
            catch (const std::bad_alloc&) {
                // No exception crosses libvirt's frames; what is still the case will be reported again.
            }
        };
        const added_watch added;
        if (virStreamEventAddCallback(stream_, 0, callback, this, nullptr) < 0)
            return end_ = last_failure();
        has_callback_ = true;
        watch_ = added.watch();
        if (!socket_ && watch_ != 0)
            event_registry::instance().drop_in_child(watch_);
        if (socket_ && socket_->is_remote && socket_->fd < 0) // Before we were listening.
            lose_connection();
        return {};
    }

    /// Only where libvirt reported the stream readable, and once: some of its streams spin inside
    /// virStreamRecv until data comes (docs/libvirt.md, "Streams").
    bool try_receive(asio::mutable_buffer buffer, io_result& result) override
    {
        if (is_parents() && !end_)
            end_ = parents_failure();
        if (is_readable_ && !end_) {
            is_readable_ = is_lost_; // Nothing will be reported any more.
            result.bytes = receive(buffer);
        }
        return conclude_receive(result);
    }

    bool try_send(asio::const_buffer buffer, io_result& result) override
    {
        if (is_parents() && !send_failure_)
            send_failure_ = parents_failure();
        if (send_failure_) {
            cancel_send(true);
            result.ending = send_failure_;
            return true;
        }
        if (!sends_block_)
            return send(buffer, result);
        if (!sent_)
            return false;
        result = *std::exchange(sent_, std::nullopt);
        return true;
    }

    bool is_ready(stream_wait_type type) override
    {
        if (is_parents()) // It fails at once.
            return true;
        switch (type) {
        case stream_wait_type::read:
            return is_readable_ || end_;
        case stream_wait_type::write:
            return is_writable_ || has_ended_ || sends_block_;
        case stream_wait_type::error:
            break;
        }
        return has_ended_ || end_;
    }

    bool sends_on_worker() const noexcept override
    {
        return sends_block_;
    }

    void await(stream_wait_type type) override
    {
        arm(type == stream_wait_type::read ? readable : type == stream_wait_type::write ? writable : ended);
    }

    void await_send(asio::const_buffer buffer) override
    {
        if (!sends_block_)
            arm(writable);
        else if (!job_ && !awaits_writable_)
            send_on_worker(buffer);
    }

    bool cancel_send(bool at_any_cost) override
    {
        if (!job_)
            return true;
        if (!at_any_cost)
            return worker_pool::instance().withdraw(job_) && drop_job();
        const bool has_begun = !worker_pool::instance().abandon(job_);
        if (has_begun && socket_) // Its thread is freed at the cost of the connection.
            socket_monitor::instance().interrupt(*socket_);
        return drop_job();
    }

    /// libvirt's own dispatch of a stream must not race with its end (docs/libvirt.md, "Streams").
    void stop_listening(std::function<void()> then) override
    {
        struct stopping
        {
            std::shared_ptr<callback_transport> self;
            std::function<void()> then;
        };

        is_listening_ = false;
        event_registry::instance().defer(
            [](void* argument) {
                const std::unique_ptr<stopping> s(static_cast<stopping*>(argument));
                s->self->remove_callback();
                s->then();
            },
            new stopping{shared_from_this(), std::move(then)});
    }

    virStreamPtr release() override
    {
        using held = std::shared_ptr<callback_transport>;
        is_listening_ = false;
        remove_callback();
        if (socket_)
            close_deadline::instance().share(socket_);
        // A dispatch may be on its way here.
        event_registry::instance().defer(
            [](void* self) { delete static_cast<held*>(self); }, new held(shared_from_this()));
        return stream_;
    }

    void on_lost() override
    {
        if_listening([this](auto& operations) {
            lose_connection();
            operations.retry_read();
            operations.retry_write();
        });
    }

private:
    void lose_connection()
    {
        lose();
        is_readable_ = has_ended_ = true;
    }

    /// libvirt's callback.
    void on_event(int events)
    {
        if_listening([&](auto& operations) {
            if (events == VIR_STREAM_EVENT_ERROR && !event_registry::instance().is_dispatching_here())
                return aborted_by_libvirt(operations);
            if (events & ended) // One of the two will do; libvirt's files report it again and again.
                events |= readable | writable | ended;
            is_readable_ = is_readable_ || (events & readable);
            is_writable_ = is_writable_ || (events & writable);
            has_ended_ = has_ended_ || (events & ended);
            awaits_writable_ = awaits_writable_ && !is_writable_;
            // What is not wanted any more is disarmed only now: between two operations of a busy stream it
            // would be switched off and on.
            const int wanted = operations.awaited();
            if (events & readable)
                operations.retry_read();
            if (events & writable)
                operations.retry_write();
            set_mask(mask_ & ~(events & ~wanted));
        });
    }

    /// The driver in this process has aborted the stream, for another opener that was to have the console by
    /// force. We are called by the thread that does it, and the watch would outlive its file if it were not
    /// removed here (docs/libvirt.md, "Consoles of the embedded driver").
    void aborted_by_libvirt(stream_operations& operations)
    {
        end_ = send_failure_ =
            describe_failure(VIR_FROM_STREAMS, "libvirt aborted the stream", condition::console_taken_over);
        has_ended_ = true;
        remove_callback();
        operations.retry_read();
        operations.retry_write();
    }

    void remove_callback() noexcept
    {
        if (!std::exchange(has_callback_, false)
            || (!is_parents() && virStreamEventRemoveCallback(stream_) == 0))
            return;
        // libvirt does not know of its watch any more if it has aborted the stream.
        if (watch_ != 0)
            event_registry::instance().remove_handle(watch_);
        virResetLastError();
    }

    void arm(int events)
    {
        set_mask(mask_ | events);
    }

    void set_mask(int mask)
    {
        if (std::exchange(mask_, mask) == mask || !has_callback_ || is_parents()
            || virStreamEventUpdateCallback(stream_, mask) == 0)
            return;
        // It was aborted while it had nothing to report.
        if (const auto operations = operations_.lock())
            aborted_by_libvirt(*operations);
    }

    bool send(asio::const_buffer buffer, io_result& result)
    {
        is_writable_ = false;
        const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
        const int n = virStreamSend(stream_, static_cast<const char*>(buffer.data()), size);
        if (n == would_block && !has_ended_)
            return false;
        if (n == would_block)
            result.ending = error_code(asio::error::broken_pipe); // Nobody will ever take it.
        else if (n < 0)
            result.ending = explain(last_failure());
        else
            result.bytes = static_cast<std::size_t>(n);
        return true;
    }

    /// Where a daemon is behind the stream, virStreamSend blocks until it has taken everything
    /// (docs/libvirt.md, "Sending").
    void send_on_worker(asio::const_buffer buffer)
    {
        const auto* data = static_cast<const char*>(buffer.data());
        std::vector<char> copy(data, data + std::min(buffer.size(), worker_send_size));
        virStreamRef(stream_);
        const std::shared_ptr<virStream> stream(stream_, [](virStreamPtr s) {
            release_later([](void* p) { virStreamFree(static_cast<virStreamPtr>(p)); }, s);
        });
        job_ = worker_pool::instance().make(
            [self = shared_from_this(), stream, copy = std::move(copy), number = ++job_number_] {
                const daemon_wait work(self->socket_);
                const int n = virStreamSend(stream.get(), copy.data(), copy.size());
                self->sent(number, n, n == -1 ? self->explain(last_failure()) : failure());
            },
            lane_);
        const auto no_thread = worker_pool::instance().submit(job_);
        if (!no_thread)
            return;
        job_.reset();
        sent_ = io_result{no_thread, 0};
        if (const auto operations = operations_.lock())
            operations->retry_write();
    }

    void sent(std::uint64_t number, int n, failure f)
    {
        if_listening([&](auto& operations) {
            if (!job_ || number != job_number_)
                return;
            job_.reset();
            if (n == would_block) {
                awaits_writable_ = true;
                arm(writable);
                return;
            }
            sent_ = io_result{std::move(f), n > 0 ? static_cast<std::size_t>(n) : 0};
            operations.retry_write();
        });
    }

    bool drop_job() noexcept
    {
        job_.reset();
        return true;
    }

    const bool sends_block_;
    const std::shared_ptr<job_lane> lane_;
    bool has_callback_ = false;
    int watch_ = 0; // libvirt's, of a stream that is a file; 0: none
    int mask_ = 0;
    bool is_readable_ = false; // reported, and not used since
    bool is_writable_ = false;
    bool has_ended_ = false; // an error or a hang-up was reported
    std::shared_ptr<worker_pool::job> job_;
    std::uint64_t job_number_ = 0;
    bool awaits_writable_ = false;  // before another job is worth it
    std::optional<io_result> sent_; // by the last job
};

} // namespace

std::shared_ptr<stream_transport> make_callback_transport(
    std::weak_ptr<stream_operations> operations, virStreamPtr stream, bool is_console, bool sends_block,
    std::shared_ptr<connection_socket> socket, std::shared_ptr<job_lane> lane)
{
    return std::make_shared<callback_transport>(
        std::move(operations), stream, is_console, sends_block, std::move(socket), std::move(lane));
}

} // namespace avirt::detail
