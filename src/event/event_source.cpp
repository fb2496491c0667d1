// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_source.hpp>

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "event/event_queue.hpp"
#include "event/subscription.hpp"
#include "loop/connection_socket.hpp"
#include "loop/socket_monitor.hpp"
#include "loop/socket_observer.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>

#include <mutex>
#include <string>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

class event_source_impl_object final : public event_source_impl,
                                       public event_receiver,
                                       public context_object,
                                       public socket_observer,
                                       public std::enable_shared_from_this<event_source_impl_object>
{
public:
    event_source_impl_object(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection, event_kind kind,
        event_source_options options)
        : executor_(executor),
          connection_(std::move(connection)),
          kind_(kind),
          object_(std::move(options.object)),
          events_(options.capacity)
    {
    }

    ~event_source_impl_object() override
    {
        close();
    }

    void on_event(const subscription& from, std::unique_ptr<erased_event> event) override
    {
        event_queue::item dropped; // Destroyed outside the lock.
        const std::lock_guard guard(mutex_);
        if (subscription_.get() != &from)
            return;
        dropped = events_.push(std::move(event));
        complete_receive();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        is_followed_ = false; // A supervised connection may be about to subscribe the source again.
        abort_all();
        events_.clear();
        unregister(ignore);
    }

    std::uint64_t lost() noexcept override
    {
        const std::lock_guard guard(mutex_);
        return events_.take_lost();
    }

    void set_followed(bool is_followed) noexcept override
    {
        const std::lock_guard guard(mutex_);
        is_followed_ = is_followed;
        complete_receive();
    }

    bool is_followed() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return is_followed_;
    }

    void on_connection_lost(const failure& why) noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_)
            loss_while_subscribing_ = why;
        else
            end_subscription(why);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto subscribe = subscribe_.take();
        const auto receive = receive_.take();
        const auto unsubscribe = unsubscribe_.take();
        executor_ = {};
        held.unlock(); // The handlers are destroyed outside the lock: they may own this source.
    }

    void async_subscribe(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        start_subscribe(std::move(handler), details);
    }

    void async_resubscribe(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (is_followed_ || !executor_)
            start_subscribe(std::move(handler), details);
        else
            complete_now(executor_, std::move(handler), details, aborted);
    }

    void async_receive(event_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        if (receive_)
            return complete_now(
                executor_, std::move(handler), details, error::operation_in_progress, nullptr);
        on_cancel(handler, [weak = weak_from_this(), n = receive_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_receive(n);
        });
        receive_.start(std::move(handler), executor_, details);
        complete_receive();
    }

    void async_unsubscribe(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        const auto refused = subscribe_ || unsubscribe_ ? error::operation_in_progress
            : !subscription_                            ? error::not_open
                                                        : error{};
        is_followed_ = false;
        if (!subscription_)
            receive_.complete(aborted, nullptr);
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused);
        receive_.complete(aborted, nullptr);
        on_cancel(handler, [weak = weak_from_this(), n = unsubscribe_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->on_unsubscribed(n, aborted);
        });
        unsubscribe_.start(std::move(handler), executor_, details);
        events_.clear();
        unregister([self = shared_from_this(), n = unsubscribe_.number()](const error_code&, bool) {
            self->on_unsubscribed(n, {});
        });
    }

private:
    static constexpr auto ignore = [](const error_code&, bool) {};

    void start_subscribe(wait_handler handler, error_details* details)
    {
        if (!executor_)
            return; // The context has ended: no handler can be called any more.
        const auto refused = subscribe_ || unsubscribe_ ? error::operation_in_progress
            : subscription_                             ? error::already_open
            : !connection_->native_handle()             ? error::not_open
                                                        : error{};
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused);
        on_cancel(
            handler, [weak = weak_from_this(), n = subscribe_.number() + 1](asio::cancellation_type type) {
                if (const auto self = weak.lock())
                    self->cancel_subscribe(n, type);
            });
        subscribe_.start(std::move(handler), executor_, details);
        queue_end_reason();
        loss_while_subscribing_ = {};
        socket_ = connection_->socket();
        subscription_ = std::make_shared<subscription>(kind_, object_, weak_from_this());
        const auto call_details = std::make_shared<error_details>(); // owned by the handler
        connection_->async_call(
            subscription_,
            call_handler(asio::bind_cancellation_slot(
                cancel_call_.slot(),
                [self = shared_from_this(), d = call_details, n = subscribe_.number()](error_code ec, bool) {
                    self->on_subscribed(n, {ec, *d});
                })),
            call_details.get());
    }

    void abort_all() noexcept
    {
        if (subscribe_) {
            subscribe_.complete(aborted);
            events_.clear();
            unregister(ignore);
            cancel_call_.emit(asio::cancellation_type::partial);
        }
        receive_.complete(aborted, nullptr);
        unsubscribe_.complete(aborted);
    }

    /// Prepares for a new subscription. A followed source still delivers the events of the previous
    /// subscription, and then the reason why that ended.
    void queue_end_reason()
    {
        auto reason = std::exchange(end_reason_, {});
        if (!is_followed_)
            events_.clear();
        else if (reason)
            events_.push_end(std::move(reason));
    }

    /// Removes the registration from libvirt, also one that a call is still making.
    template <class Handler>
    void unregister(Handler handler) noexcept
    {
        if (const auto ended = std::exchange(subscription_, nullptr))
            ended->end(*connection_, socket_, call_handler(std::move(handler)));
    }

    void on_subscribed(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        if (f) {
            unregister(ignore);
            if (is_followed_)
                end_reason_ = f;
            else
                events_.clear();
        }
        else {
            if (!socket_) // If the connection was opened elsewhere, this call may have found its socket.
                socket_ = connection_->socket();
            if (socket_)
                socket_monitor::instance().observe(*socket_, weak_from_this());
        }
        subscribe_.complete(std::move(f));
        end_subscription_if_lost();
        if (loss_while_subscribing_)
            end_subscription(std::exchange(loss_while_subscribing_, {}));
        complete_receive();
    }

    void cancel_subscribe(std::uint64_t number, asio::cancellation_type type)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        cancel_call_.emit(type); // The call completes as on_subscribed().
    }

    void cancel_receive(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (receive_.number() == number)
            receive_.complete(aborted, nullptr);
    }

    void on_unsubscribed(std::uint64_t number, error_code ec)
    {
        const std::lock_guard guard(mutex_);
        if (unsubscribe_.number() == number)
            unsubscribe_.complete(ec);
    }

    void end_subscription_if_lost()
    {
        if (socket_ && socket_->fd < 0)
            end_subscription(lost_failure(*socket_));
    }

    /// Ends the subscription, if there is one, because the connection is lost.
    void end_subscription(failure why)
    {
        if (!subscription_ || subscribe_)
            return;
        end_reason_ = std::move(why);
        unregister(ignore);
        complete_receive();
    }

    /// Completes an outstanding receive with the next event, or with what else there is to report.
    void complete_receive()
    {
        if (!receive_)
            return;
        if (events_.take_overflow())
            receive_.complete(error::events_lost, nullptr);
        else if (!events_.empty()) {
            auto next = events_.pop();
            receive_.complete(std::move(next.end_reason), std::move(next.event));
        }
        else if (is_followed_ && !subscription_ && end_reason_) // Once: then wait for the next subscription.
            receive_.complete(std::exchange(end_reason_, {}), nullptr);
        else if (!is_followed_ && !subscription_)
            receive_.complete(end_reason_ ? end_reason_ : failure(error::not_open), nullptr);
    }

    void on_lost() override
    {
        const std::lock_guard guard(mutex_);
        end_subscription_if_lost();
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    const std::shared_ptr<connection_impl> connection_;
    const event_kind kind_;
    const std::string object_;                   // the name or UUID of the only object; empty: all objects
    std::shared_ptr<subscription> subscription_; // null: the source takes no events
    std::shared_ptr<connection_socket> socket_;  // of the connection on which the source is subscribed
    asio::cancellation_signal cancel_call_;
    pending_operation<void(error_code)> subscribe_;
    pending_operation<void(error_code, std::unique_ptr<erased_event>)> receive_;
    pending_operation<void(error_code)> unsubscribe_;
    event_queue events_;
    failure end_reason_; // of the latest subscription, which has ended
    failure loss_while_subscribing_;
    bool is_followed_ = false; // A supervised connection subscribes the source again after each loss.
};

} // namespace

event_source_impl::~event_source_impl() = default;

std::shared_ptr<event_source_impl> event_source_impl::make(
    const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection, event_kind kind,
    event_source_options options)
{
    auto object =
        std::make_shared<event_source_impl_object>(executor, std::move(connection), kind, std::move(options));
    context_objects::of(executor)->add(object);
    return object;
}

} // namespace avirt::detail
