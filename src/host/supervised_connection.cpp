// SPDX-License-Identifier: BSL-1.0
#include <avirt/supervised_connection.hpp>

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "host/coroutines.hpp"
#include "host/domain_status.hpp"
#include "loop/connection_socket.hpp"
#include "loop/event_registry.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

constexpr std::chrono::milliseconds shortest_delay{1}; // between two tries in vain

/// One coroutine does it all, on a strand; the lock is between it and who receives.
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
          options_(std::move(options))
    {
    }

    void follow(const std::shared_ptr<event_source_impl>& source) override
    {
        const std::lock_guard guard(mutex_);
        if (is_closed_)
            return end(*source);
        source->set_followed(true);
        std::erase_if(followed_, [](const auto& s) { return s.expired(); });
        followed_.push_back(source);
        if (is_connected_)
            source->async_resubscribe([](const error_code&) {}, nullptr); // A receive tells where that fails.
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        receive_.complete(aborted, {});
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (std::exchange(is_closed_, true))
            return;
        receive_.complete(aborted, {});
        reports_.clear();
        for (const auto& source : followed_now())
            end(*source);
        connection_->close();
        if (executor_)
            asio::post(strand_, [self = shared_from_this()] {
                self->stop_->emit(asio::cancellation_type::terminal);
                self->wake_.emit(asio::cancellation_type::total);
            });
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto receive = receive_.take();
        executor_ = {};
        strand_ = {};
        stop_.reset();
        held.unlock(); // The handler ends outside the lock: it may own this very supervisor.
    }

    void async_receive(report_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
        const auto refused = receive_                ? error::operation_in_progress
            : is_closed_                             ? error::not_open
            : !event_registry::instance().is_bound() ? error::no_event_loop
                                                     : error{};
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused, {});
        on_cancel(handler, [weak = weak_from_this(), n = receive_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_receive(n);
        });
        receive_.start(std::move(handler), executor_, details);
        start();
        feed();
    }

private:
    void start()
    {
        if (std::exchange(is_started_, true))
            return;
        // Not here and now: the caller has the lock.
        asio::post(strand_, [self = shared_from_this(), strand = strand_] {
            asio::co_spawn(
                strand, supervise(self),
                asio::bind_cancellation_slot(self->stop_->slot(), [self](std::exception_ptr e) {
                    if (e)
                        std::rethrow_exception(e);
                }));
        });
    }

    static asio::awaitable<void> supervise(std::shared_ptr<supervisor_impl_object> self)
    {
        co_await asio::this_coro::throw_if_cancelled(false);
        const asio::any_io_executor executor = co_await asio::this_coro::executor;
        asio::steady_timer timer(executor);
        auto delay = self->options_.first_delay;
        while (!self->is_closed()) {
            auto f = co_await open(self->connection_, self->options_.open);
            if (!f) {
                const bool was_connected = co_await self->serve(executor, f);
                if (was_connected)
                    delay = self->options_.first_delay;
                self->give_up(f);
            }
            if (self->is_closed())
                break;
            self->report(host_disconnected{f.code, f.details, delay});
            timer.expires_after(delay);
            co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
            delay = std::min(std::max(2 * delay, shortest_delay), self->options_.longest_delay);
        }
    }

    /// From an open connection to its loss, which goes to @p why. Returns whether all was well for a while.
    asio::awaitable<bool> serve(asio::any_io_executor executor, failure& why)
    {
        const auto lifecycle = event_source_impl::make(
            executor, connection_, kind_of<domain_lifecycle>(), event_source_options());
        why = co_await subscribe(lifecycle);
        const bool has_events = why.code != condition::not_supported;
        if (why && has_events)
            co_return false;
        co_await subscribe_followed();
        why = co_await take_snapshot();
        const bool was_well = !why;
        while (!why && !is_closed()) {
            if (wants_snapshot())
                why = co_await take_snapshot();
            else if (has_events)
                why = co_await pass_on(lifecycle);
            else
                why = co_await wait_for_loss();
            if (why.code == aborted && wants_snapshot()) // It was woken.
                why = {};
        }
        lifecycle->close();
        co_return was_well;
    }

    /// Where the driver reports nothing.
    asio::awaitable<failure> wait_for_loss()
    {
        auto f = co_await wait_closed(connection_, wake_.slot());
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
            is_connected_ = true; // Whoever comes now subscribes himself.
            sources = followed_now();
        }
        for (const auto& source : sources)
            co_await resubscribe(source);
    }

    asio::awaitable<failure> take_snapshot()
    {
        {
            const std::lock_guard guard(mutex_);
            wants_snapshot_ = false;
        }
        auto listed = co_await call_on(connection_, &list_domains);
        if (listed.why)
            co_return listed.why;
        host_connected connected;
        connected.domains = std::move(listed.value);
        report(std::move(connected));
        co_return failure();
    }

    /// Each event leads to a look at its domain: what is reported is what is, not what was.
    asio::awaitable<failure> pass_on(std::shared_ptr<event_source_impl> lifecycle)
    {
        auto next = co_await receive<domain_lifecycle>(lifecycle, wake_.slot());
        if (next.why.code == error::events_lost)
            co_return co_await take_snapshot();
        if (next.why)
            co_return next.why;
        co_return co_await look_at(std::move(next.value));
    }

    asio::awaitable<failure> look_at(domain_lifecycle event)
    {
        const auto ask = [about = std::make_shared<domain>(event.domain.ref())](virConnectPtr) {
            return status_of(about->ref());
        };
        auto looked = co_await call_on(connection_, ask);
        if (looked.why.code == condition::connection_lost || looked.why.code == aborted)
            co_return looked.why;
        domain_changed changed;
        changed.event = event.event;
        changed.detail = event.detail;
        changed.is_gone = !looked.why && !looked.value;
        changed.status = looked.value ? std::move(*looked.value) : identity_of(std::move(event.domain));
        report(std::move(changed));
        co_return failure();
    }

    void give_up(const failure& why)
    {
        const std::lock_guard guard(mutex_);
        is_connected_ = false;
        for (const auto& source : followed_now())
            source->on_connection_lost(why);
        connection_->close_lost(why);
    }

    void report(host_report r)
    {
        std::deque<host_report> dropped; // Ends outside the lock.
        const std::lock_guard guard(mutex_);
        // What comes before the next snapshot is in that.
        if (is_closed_ || has_overflowed_ || (wants_snapshot_ && std::holds_alternative<domain_changed>(r)))
            return;
        if (reports_.size() >= std::max<std::size_t>(options_.capacity, 1)) {
            dropped.swap(reports_);
            has_overflowed_ = true;
        }
        else {
            reports_.push_back(std::move(r));
        }
        feed();
    }

    void feed()
    {
        if (!receive_)
            return;
        if (std::exchange(has_overflowed_, false)) {
            receive_.complete(error::events_lost, {});
            wants_snapshot_ = true;
            asio::post(
                strand_, [self = shared_from_this()] { self->wake_.emit(asio::cancellation_type::total); });
        }
        else if (!reports_.empty()) {
            auto next = std::move(reports_.front());
            reports_.pop_front();
            receive_.complete({}, std::move(next));
        }
    }

    void cancel_receive(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (receive_.number() == number)
            receive_.complete(aborted, {});
    }

    static void end(event_source_impl& source)
    {
        source.set_followed(false);
        source.on_connection_lost(error::not_open);
    }

    std::vector<std::shared_ptr<event_source_impl>> followed_now() const
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

    bool wants_snapshot() const
    {
        const std::lock_guard guard(mutex_);
        return wants_snapshot_;
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    asio::any_io_executor strand_;
    const std::shared_ptr<connection_impl> connection_;
    const supervision_options options_;
    std::optional<asio::cancellation_signal> stop_{std::in_place}; // on the strand; it knows that, too
    asio::cancellation_signal wake_; // on the strand: ends the wait for something to happen
    pending_operation<void(error_code, host_report)> receive_;
    std::deque<host_report> reports_;
    std::vector<std::weak_ptr<event_source_impl>> followed_;
    bool is_started_ = false;
    bool is_connected_ = false;
    bool is_closed_ = false;
    bool has_overflowed_ = false; // and the next receive is to tell
    bool wants_snapshot_ = false;
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
