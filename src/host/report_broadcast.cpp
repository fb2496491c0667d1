// SPDX-License-Identifier: BSL-1.0
#include "host/report_broadcast.hpp"

#include "loop/event_registry.hpp"

#include <boost/asio/error.hpp>

#include <chrono>
#include <mutex>
#include <utility>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

} // namespace

report_broadcast::report_broadcast(const asio::any_io_executor& executor) : executor_(executor) {}

void report_broadcast::connected(std::vector<domain_status> domains)
{
    publish([&] { return record_.connected(std::move(domains)); });
}

void report_broadcast::disconnected(host_disconnected why)
{
    publish([&] { return record_.disconnected(std::move(why)); });
}

void report_broadcast::changed(domain_changed change)
{
    publish([&] { return record_.changed(std::move(change)); });
}

/// Reports what learn() has added to the record.
template <class Learn>
void report_broadcast::publish(Learn learn)
{
    const std::lock_guard guard(mutex_);
    if (is_closed_)
        return;
    const auto report = learn();
    for (const auto& weak : receivers_) {
        if (const auto receiver = weak.lock()) {
            receiver->queue.push(report, record_);
            complete_receive(*receiver);
        }
    }
}

void report_broadcast::close() noexcept
{
    const std::lock_guard guard(mutex_);
    is_closed_ = true;
    record_.clear();
    for (const auto& weak : receivers_) {
        if (const auto receiver = weak.lock())
            end(*receiver);
    }
}

void report_broadcast::shutdown() noexcept
{
    std::vector<std::weak_ptr<report_receiver>> receivers;
    {
        const std::lock_guard guard(mutex_);
        receivers.swap(receivers_);
        executor_ = {};
    }
    for (const auto& weak : receivers) {
        if (const auto receiver = weak.lock()) {
            std::unique_lock held(mutex_);
            const auto handler = receiver->operation.take();
            held.unlock(); // The handler is destroyed outside the lock: it may own a receiver.
        }
    }
}

std::shared_ptr<report_receiver> report_broadcast::add_receiver(std::size_t capacity)
{
    auto receiver = std::make_shared<report_receiver>(capacity);
    const std::lock_guard guard(mutex_);
    std::erase_if(receivers_, [](const auto& r) { return r.expired(); });
    receivers_.push_back(receiver);
    if (auto present = record_.present())
        receiver->queue.push(std::move(present), record_);
    return receiver;
}

bool report_broadcast::async_receive(
    const std::shared_ptr<report_receiver>& receiver, report_handler handler, error_details* details)
{
    const std::lock_guard guard(mutex_);
    if (!executor_)
        return false; // The context has ended: no handler can be called any more.
    auto& operation = receiver->operation;
    const auto refused = operation               ? error::operation_in_progress
        : is_closed_                             ? error::not_open
        : !event_registry::instance().is_bound() ? error::no_event_loop
                                                 : error{};
    if (refused != error{}) {
        complete_now(executor_, std::move(handler), details, refused, {});
        return false;
    }
    on_cancel(
        handler,
        [self = weak_from_this(), weak = std::weak_ptr(receiver),
         number = operation.number() + 1](asio::cancellation_type) {
            if (const auto broadcast = self.lock())
                broadcast->cancel_receive(weak, number);
        });
    operation.start(std::move(handler), executor_, details);
    receiver->queue.start_over(record_);
    complete_receive(*receiver);
    return true;
}

void report_broadcast::cancel_receive(const std::weak_ptr<report_receiver>& weak, std::uint64_t number)
{
    const auto receiver = weak.lock();
    const std::lock_guard guard(mutex_);
    if (receiver && receiver->operation.number() == number)
        receiver->operation.complete(aborted, {});
}

void report_broadcast::cancel(report_receiver& receiver) noexcept
{
    const std::lock_guard guard(mutex_);
    receiver.operation.complete(aborted, {});
}

void report_broadcast::remove(report_receiver& receiver) noexcept
{
    const std::lock_guard guard(mutex_);
    end(receiver);
}

void report_broadcast::end(report_receiver& receiver) noexcept
{
    receiver.queue.clear();
    receiver.operation.complete(aborted, {});
}

/// Completes an outstanding receive with the next report, if there is one.
void report_broadcast::complete_receive(report_receiver& receiver)
{
    if (!receiver.operation)
        return;
    if (receiver.queue.take_overflow())
        return receiver.operation.complete(error::events_lost, {});
    if (receiver.queue.empty())
        return;
    auto report = copy_of(*receiver.queue.pop(), std::chrono::steady_clock::now());
    record_.add_handles(report);
    receiver.operation.complete({}, std::move(report));
}

} // namespace avirt::detail
