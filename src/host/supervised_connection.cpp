// SPDX-License-Identifier: BSL-1.0
#include <avirt/supervised_connection.hpp>

#include "connection/open.hpp"
#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "host/coroutines.hpp"
#include "host/domain_status.hpp"
#include "host/host_consoles.hpp"
#include "host/report_broadcast.hpp"
#include "host/retry_delay.hpp"
#include "host/time_limit.hpp"
#include "loop/connection_socket.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

/// A single coroutine, on a strand, opens and watches the connection and publishes the reports. The lock
/// guards what it shares with the functions that the application calls.
class supervisor_impl_object final : public supervisor_impl,
                                     public context_object,
                                     public std::enable_shared_from_this<supervisor_impl_object>
{
public:
    supervisor_impl_object(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
        supervision_options options)
        : executor_(executor),
          strand_(strand_of(executor)),
          connection_(std::move(connection)),
          options_(std::move(options)),
          reports_(std::make_shared<report_broadcast>(executor))
    {
    }

    void follow(const std::shared_ptr<event_source_impl>& source) override
    {
        const std::lock_guard guard(mutex_);
        if (is_closed_)
            return stop_following(*source);
        source->set_followed(true);
        std::erase_if(followed_, [](const auto& s) { return s.expired(); });
        followed_.push_back(source);
        if (is_connected_)
            source->async_resubscribe([](const error_code&) {}, nullptr); // A receive reports the failure.
    }

    void retry_now() noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (executor_)
            asio::post(strand_, [self = shared_from_this()] {
                if (self->delay_)
                    self->delay_->cancel();
            });
    }

    void cancel() noexcept override
    {
        std::shared_ptr<report_receiver> own;
        {
            const std::lock_guard guard(mutex_);
            own = own_receiver_;
        }
        if (own)
            reports_->cancel(*own);
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (std::exchange(is_closed_, true))
            return;
        reports_->close();
        for (const auto& source : followed_sources())
            stop_following(*source);
        connection_->close();
        if (executor_)
            asio::post(strand_, [self = shared_from_this()] {
                self->end_coroutine_->emit(asio::cancellation_type::terminal);
                self->end_waiting_.emit(asio::cancellation_type::total);
            });
    }

    void shutdown() noexcept override
    {
        {
            const std::lock_guard guard(mutex_);
            executor_ = {};
            strand_ = {};
            end_coroutine_.reset();
            if (consoles_)
                consoles_->shutdown();
        }
        reports_->shutdown();
    }

    void async_receive(report_handler handler, error_details* details) override
    {
        async_receive_for(own_receiver(), std::move(handler), details);
    }

    std::shared_ptr<report_receiver> add_receiver(std::size_t capacity) override
    {
        return reports_->add_receiver(capacity);
    }

    void async_receive_for(
        const std::shared_ptr<report_receiver>& receiver, report_handler handler,
        error_details* details) override
    {
        if (reports_->async_receive(receiver, std::move(handler), details))
            start_coroutine();
    }

    void cancel(report_receiver& receiver) noexcept override
    {
        reports_->cancel(receiver);
    }

    void remove(report_receiver& receiver) noexcept override
    {
        reports_->remove(receiver);
    }

    bool has_events() const noexcept override
    {
        return has_events_;
    }

    std::shared_ptr<host_consoles> consoles() override
    {
        const std::lock_guard guard(mutex_);
        if (!consoles_)
            consoles_ = std::make_shared<host_consoles>(executor_);
        return consoles_;
    }

private:
    /// The receiver of the supervised connection itself.
    std::shared_ptr<report_receiver> own_receiver()
    {
        const std::lock_guard guard(mutex_);
        if (!own_receiver_)
            own_receiver_ = reports_->add_receiver(options_.capacity);
        return own_receiver_;
    }

    void start_coroutine()
    {
        const std::lock_guard guard(mutex_);
        if (!executor_ || is_closed_ || std::exchange(is_started_, true))
            return;
        // Posted, because the caller holds the lock.
        asio::post(strand_, [self = shared_from_this(), strand = strand_] {
            asio::co_spawn(
                strand, supervise(self),
                asio::bind_cancellation_slot(self->end_coroutine_->slot(), [self](std::exception_ptr e) {
                    if (e)
                        std::rethrow_exception(e);
                }));
        });
    }

    static asio::awaitable<void> supervise(std::shared_ptr<supervisor_impl_object> self)
    {
        co_await asio::this_coro::throw_if_cancelled(false);
        const asio::any_io_executor executor = co_await asio::this_coro::executor;
        retry_delay delay(self->options_.first_delay, self->options_.longest_delay);
        while (!self->is_closed()) {
            const auto begun_at = std::chrono::steady_clock::now();
            auto f = co_await open(self->connection_, self->options_.open);
            if (!f) {
                if (co_await self->watch_connection(executor, self->time_left_since(begun_at), f))
                    delay.reset();
                self->close_connection(f);
            }
            if (self->is_closed())
                break;
            const auto retry_in = delay.next();
            self->reports_->disconnected({f.code, f.details, retry_in});
            co_await self->wait_to_retry(executor, retry_in);
        }
    }

    asio::awaitable<void> wait_to_retry(asio::any_io_executor executor, std::chrono::milliseconds time)
    {
        asio::steady_timer timer(executor, time);
        delay_ = &timer;
        co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
        delay_ = nullptr;
    }

    /// Reports what happens on an open connection until it is lost. Returns whether a snapshot was reported.
    ///
    /// @param time The time limit of the first snapshot; zero: none.
    /// @param why is set to the reason of the loss.
    asio::awaitable<bool> watch_connection(
        asio::any_io_executor executor, std::chrono::milliseconds time, failure& why)
    {
        const auto lifecycle = event_source_impl::make(
            executor, connection_, kind_of<domain_lifecycle>(), event_source_options());
        why = co_await report_first_snapshot(lifecycle, time);
        const bool was_connected = !why;
        while (!why && !is_closed()) {
            if (has_events_)
                why = co_await report_next_change(lifecycle);
            else
                why = co_await wait_for_loss();
        }
        lifecycle->close();
        co_return was_connected;
    }

    /// What is left of the time limit of an open that has begun at that time; zero: there is none.
    std::chrono::milliseconds time_left_since(std::chrono::steady_clock::time_point begun_at) const
    {
        using std::chrono::milliseconds;
        const auto limit = options_.open.timeout;
        if (limit <= milliseconds(0))
            return milliseconds(0);
        const auto age =
            std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun_at);
        return std::max(limit - age, milliseconds(1));
    }

    /// Subscribes to the events before it asks for the state of the host, so that no change is missed. A
    /// daemon that accepts connections may not answer any more: all this has the time limit of the open.
    asio::awaitable<failure> report_first_snapshot(
        std::shared_ptr<event_source_impl> lifecycle, std::chrono::milliseconds time)
    {
        time_limit limit(time, connection_);
        auto why = co_await subscribe(lifecycle);
        has_events_ = why.code != condition::not_supported;
        if (!why || !has_events_) {
            co_await subscribe_followed();
            why = co_await report_snapshot();
        }
        if (!limit.end())
            why = open_timed_out();
        co_return why;
    }

    /// Waits until the connection is lost, if the driver does not report lifecycle events.
    asio::awaitable<failure> wait_for_loss()
    {
        auto f = co_await wait_closed(connection_, end_waiting_.slot());
        const auto socket = connection_->socket();
        if (!f && socket)
            f = lost_failure(*socket);
        co_return f;
    }

    asio::awaitable<void> subscribe_followed()
    {
        std::vector<std::shared_ptr<event_source_impl>> sources;
        {
            const std::lock_guard guard(mutex_);
            is_connected_ = true; // From now on follow() subscribes further sources.
            sources = followed_sources();
        }
        for (const auto& source : sources)
            co_await resubscribe(source);
    }

    asio::awaitable<failure> report_snapshot()
    {
        auto listed = co_await call_on(connection_, &list_domains);
        if (listed.error)
            co_return listed.error;
        reports_->connected(std::move(listed.value));
        co_return failure();
    }

    /// Waits for the next event, and reports the current state of its domain.
    asio::awaitable<failure> report_next_change(std::shared_ptr<event_source_impl> lifecycle)
    {
        auto next = co_await receive<domain_lifecycle>(lifecycle, end_waiting_.slot());
        if (next.error.code == error::events_lost)
            co_return co_await report_snapshot();
        if (next.error)
            co_return next.error;
        co_return co_await report_change(std::move(next.value));
    }

    /// The state is asked for when the report is made, because the event may be outdated.
    asio::awaitable<failure> report_change(domain_lifecycle event)
    {
        const auto ask_for_status = [vm = std::make_shared<domain>(event.domain.ref())](virConnectPtr) {
            return status_of(vm->ref());
        };
        auto status = co_await call_on(connection_, ask_for_status);
        if (status.error && status.error.code != condition::denied) // Nothing is known of the domain then.
            co_return status.error;
        domain_changed changed;
        changed.event = event.event;
        changed.detail = event.detail;
        changed.is_gone = !status.error && !status.value;
        changed.status = status.value ? std::move(*status.value) : identity_of(std::move(event.domain));
        reports_->changed(std::move(changed));
        co_return failure();
    }

    void close_connection(const failure& why)
    {
        const std::lock_guard guard(mutex_);
        is_connected_ = false;
        for (const auto& source : followed_sources())
            source->on_connection_lost(why);
        connection_->close_lost(why);
    }

    static void stop_following(event_source_impl& source)
    {
        source.set_followed(false);
        source.on_connection_lost(error::not_open);
    }

    std::vector<std::shared_ptr<event_source_impl>> followed_sources() const
    {
        std::vector<std::shared_ptr<event_source_impl>> sources;
        for (const auto& weak : followed_) {
            if (auto source = weak.lock(); source && source->is_followed())
                sources.push_back(std::move(source));
        }
        return sources;
    }

    bool is_closed() const
    {
        const std::lock_guard guard(mutex_);
        return is_closed_;
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    asio::any_io_executor strand_;
    const std::shared_ptr<connection_impl> connection_;
    const supervision_options options_;
    // Emitted on the strand. The slot of the first refers to the strand, so shutdown() destroys it. The
    // second ends only the wait for an event or for the loss of the connection.
    std::optional<asio::cancellation_signal> end_coroutine_{std::in_place};
    asio::cancellation_signal end_waiting_;
    const std::shared_ptr<report_broadcast> reports_;
    std::shared_ptr<report_receiver> own_receiver_; // null until the first async_receive()
    std::vector<std::weak_ptr<event_source_impl>> followed_;
    std::shared_ptr<host_consoles> consoles_; // null until the first console session
    std::atomic<bool> has_events_{true};
    asio::steady_timer* delay_ = nullptr; // used on the strand only; null: no delay is under way
    bool is_started_ = false;
    bool is_connected_ = false;
    bool is_closed_ = false;
};

} // namespace

supervisor_impl::~supervisor_impl() = default;

std::shared_ptr<supervisor_impl> supervisor_impl::make(
    const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
    supervision_options options)
{
    auto object =
        std::make_shared<supervisor_impl_object>(executor, std::move(connection), std::move(options));
    context_objects::of(executor)->add(object);
    return object;
}

} // namespace avirt::detail
