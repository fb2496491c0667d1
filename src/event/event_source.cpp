// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_source.hpp>

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "event/subscription.hpp"
#include "loop/connection_socket.hpp"
#include "loop/socket_monitor.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>

#include <algorithm>
#include <deque>
#include <mutex>
#include <vector>

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
          options_(std::move(options))
    {
    }

    ~event_source_impl_object() override
    {
        close();
    }

    void push(const subscription& from, std::unique_ptr<erased_event> event) override
    {
        item oldest; // It ends outside the lock.
        const std::lock_guard guard(mutex_);
        if (subscription_.get() != &from)
            return;
        if (events_.size() >= std::max<std::size_t>(options_.capacity, 1)) {
            oldest = std::move(events_.front());
            events_.pop_front();
            if (oldest.event)
                ++lost_;
            has_lost_ = true;
        }
        if (!event || !keep(std::move(event))) { // There was no memory for it.
            ++lost_;
            has_lost_ = true;
        }
        feed();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        is_followed_ = false; // Who follows it may be about to subscribe it.
        abort_all();
        end_subscription([](const error_code&, bool) {});
    }

    std::uint64_t lost() noexcept override
    {
        const std::lock_guard guard(mutex_);
        return std::exchange(lost_, 0);
    }

    void set_followed(bool is_followed) noexcept override
    {
        const std::lock_guard guard(mutex_);
        is_followed_ = is_followed;
        feed();
    }

    bool is_followed() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return is_followed_;
    }

    void lose(const failure& why) noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_)
            lost_meanwhile_ = why;
        else
            lose_locked(why);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto subscribe = subscribe_.take();
        const auto receive = receive_.take();
        const auto unsubscribe = unsubscribe_.take();
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very source.
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
        feed();
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
                self->unsubscribed(n, aborted);
        });
        unsubscribe_.start(std::move(handler), executor_, details);
        end_subscription([self = shared_from_this(), n = unsubscribe_.number()](const error_code&, bool) {
            self->unsubscribed(n, {});
        });
    }

private:
    /// An event, or the end of a subscription that another followed.
    struct item
    {
        std::unique_ptr<erased_event> event{};
        failure end{};
    };

    void start_subscribe(wait_handler handler, error_details* details)
    {
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
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
        begin_anew();
        lost_meanwhile_ = {};
        socket_ = connection_->socket();
        subscription_ = std::make_shared<subscription>(kind_, options_.object, weak_from_this());
        call_details_ = std::make_shared<error_details>();
        connection_->async_call(
            subscription_,
            call_handler(asio::bind_cancellation_slot(
                cancel_call_.slot(),
                [self = shared_from_this(), d = call_details_, n = subscribe_.number()](error_code ec, bool) {
                    self->subscribed(n, {ec, *d});
                })),
            call_details_.get());
    }

    bool keep(std::unique_ptr<erased_event> event) noexcept
    try {
        events_.push_back({std::move(event), {}});
        return true;
    }
    catch (const std::bad_alloc&) {
        return false;
    }

    void abort_all() noexcept
    {
        if (subscribe_) {
            subscribe_.complete(aborted);
            give_up_subscription();
        }
        receive_.complete(aborted, nullptr);
        unsubscribe_.complete(aborted);
    }

    /// Nobody waits for it any more: what libvirt registers nevertheless is taken back.
    void give_up_subscription() noexcept
    {
        end_subscription([](const error_code&, bool) {});
        cancel_call_.emit(asio::cancellation_type::partial);
    }

    /// Who follows hears of what was before, and of its end.
    void begin_anew()
    {
        auto end = std::exchange(end_, {});
        if (!is_followed_)
            drop_events();
        else if (end && (events_.empty() || events_.back().event))
            events_.push_back({nullptr, std::move(end)});
    }

    void drop_events() noexcept
    {
        events_.clear();
        has_lost_ = false;
    }

    template <class Handler>
    void end_subscription(Handler handler) noexcept
    {
        drop_events();
        if (const auto ended = std::exchange(subscription_, nullptr))
            ended->end(*connection_, socket_, call_handler(std::move(handler)));
    }

    void subscribed(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        if (f) {
            if (const auto ended = std::exchange(subscription_, nullptr))
                ended->end(*connection_, socket_, call_handler([](const error_code&, bool) {}));
            if (is_followed_)
                end_ = f;
            else
                drop_events();
        }
        else {
            if (!socket_) // Of one opened elsewhere this very call may have found it.
                socket_ = connection_->socket();
            if (socket_)
                socket_monitor::instance().observe(*socket_, weak_from_this());
        }
        subscribe_.complete(std::move(f));
        lose_if_lost();
        if (lost_meanwhile_)
            lose_locked(std::exchange(lost_meanwhile_, {}));
        feed();
    }

    void cancel_subscribe(std::uint64_t number, asio::cancellation_type type)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        cancel_call_.emit(type); // It comes back as subscribed().
    }

    void cancel_receive(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (receive_.number() == number)
            receive_.complete(aborted, nullptr);
    }

    void unsubscribed(std::uint64_t number, error_code ec)
    {
        const std::lock_guard guard(mutex_);
        if (unsubscribe_.number() == number)
            unsubscribe_.complete(ec);
    }

    void lose_if_lost()
    {
        if (socket_ && socket_->fd < 0)
            lose_locked(lost_failure(*socket_));
    }

    void lose_locked(failure why)
    {
        if (!subscription_ || subscribe_)
            return;
        end_ = std::move(why);
        const auto ended = std::exchange(subscription_, nullptr);
        ended->end(*connection_, socket_, call_handler([](const error_code&, bool) {}));
        feed();
    }

    void feed()
    {
        if (!receive_)
            return;
        if (std::exchange(has_lost_, false))
            receive_.complete(error::events_lost, nullptr);
        else if (!events_.empty()) {
            auto next = std::move(events_.front());
            events_.pop_front();
            receive_.complete(std::move(next.end), std::move(next.event));
        }
        else if (is_followed_ && !subscription_ && end_)
            receive_.complete(std::exchange(end_, {}), nullptr);
        else if (!is_followed_ && !subscription_)
            receive_.complete(end_ ? end_ : failure(error::not_open), nullptr);
    }

    void on_lost() override
    {
        const std::lock_guard guard(mutex_);
        lose_if_lost();
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    const std::shared_ptr<connection_impl> connection_;
    const event_kind kind_;
    const event_source_options options_;
    std::shared_ptr<subscription> subscription_; // null: libvirt is not to report, or no longer
    std::shared_ptr<connection_socket> socket_;  // of the connection subscribed on
    asio::cancellation_signal cancel_call_;
    std::shared_ptr<error_details> call_details_;
    pending_operation<void(error_code)> subscribe_;
    pending_operation<void(error_code, std::unique_ptr<erased_event>)> receive_;
    pending_operation<void(error_code)> unsubscribe_;
    std::deque<item> events_;
    bool has_lost_ = false; // and the next receive is to tell
    std::uint64_t lost_ = 0;
    failure end_;            // why there are no more
    failure lost_meanwhile_; // while it was subscribed
    bool is_followed_ = false;
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

void event_source_impl::deliver(void* opaque, std::size_t, std::unique_ptr<erased_event> event) noexcept
{
    const auto subscribed = *static_cast<std::shared_ptr<subscription>*>(opaque);
    if (const auto receiver = subscribed->receiver())
        receiver->push(*subscribed, std::move(event));
}

} // namespace avirt::detail
