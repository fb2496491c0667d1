// SPDX-License-Identifier: BSL-1.0
#include "transfer/file_worker.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <mutex>
#include <tuple>
#include <utility>

namespace avirt::detail {

std::shared_ptr<file_worker> file_worker::make(const asio::any_io_executor& executor)
{
    auto worker = std::make_shared<file_worker>(executor);
    context_objects::of(executor)->add(worker);
    return worker;
}

file_worker::file_worker(const asio::any_io_executor& executor) : executor_(executor) {}

std::uint64_t file_worker::post(step s, failure& f)
{
    const std::lock_guard guard(mutex_);
    tasks_.push_back({std::move(s)});
    if (!job_) {
        job_ = worker_pool::instance().make([self = shared_from_this()] { self->work(); }, lane_);
        if (const auto no_thread = worker_pool::instance().submit(job_)) {
            f = no_thread;
            tasks_.pop_back();
            job_.reset();
            return 0;
        }
    }
    return ++posted_;
}

asio::awaitable<failure> file_worker::wait(std::uint64_t step_number, cancellation c)
{
    if (is_done(step_number))
        co_return failure();
    // The timer ends with this coroutine, so that no late cancellation starts it.
    std::shared_ptr<asio::steady_timer> timer;
    if (c == cancellation::delayed)
        timer = std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor);
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    const auto start = [&](wait_handler handler) {
        const auto cancel = [weak = weak_from_this(), c, number = next_wait(),
                             timer = std::weak_ptr(timer)](asio::cancellation_type) mutable {
            const auto self = weak.lock();
            if (self && c == cancellation::immediate)
                self->end_wait(number);
            else if (const auto t = std::exchange(timer, {}).lock(); t && self)
                self->end_wait_later(number, *t);
        };
        on_cancel(handler, cancel);
        start_wait(step_number, std::move(handler));
    };
    const auto [ec] = co_await asio::async_initiate<decltype(token), void(error_code)>(start, token);
    co_return failure(ec);
}

asio::awaitable<failure> file_worker::run(std::function<failure()> function, cancellation c)
{
    const auto result = std::make_shared<failure>();
    failure f;
    const auto number = post([result, function = std::move(function)] { *result = function(); }, f);
    if (number != 0)
        f = co_await wait(number, c);
    if (f)
        co_return f;
    co_return std::move(*result);
}

void file_worker::end_with(step last, unstarted others) noexcept
{
    job_ptr running;
    {
        const std::lock_guard guard(mutex_);
        for (auto& t : tasks_)
            t.is_dropped = others == unstarted::drop;
        tasks_.push_back({std::move(last)});
        ++posted_;
        if (!job_) {
            // Without a lane, the job runs as soon as there is a thread, and the end of the process waits.
            job_ = worker_pool::instance().make([self = shared_from_this()] { self->work(); });
            worker_pool::instance().submit(job_);
        }
        running = job_;
    }
    worker_pool::instance().detach(running);
}

asio::awaitable<void> file_worker::wait_for_end()
{
    asio::steady_timer timer(co_await asio::this_coro::executor);
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    const auto start = [&](wait_handler handler) {
        end_wait_later(next_wait(), timer);
        start_wait(posted_, std::move(handler));
    };
    co_await asio::async_initiate<decltype(token), void(error_code)>(start, token);
}

bool file_worker::is_done(std::uint64_t step_number)
{
    const std::lock_guard guard(mutex_);
    return done_ >= step_number;
}

/// The number that the next wait gets.
std::uint64_t file_worker::next_wait()
{
    const std::lock_guard guard(mutex_);
    return wait_.number() + 1;
}

void file_worker::start_wait(std::uint64_t step_number, wait_handler handler)
{
    const std::lock_guard guard(mutex_);
    if (!executor_) // The handler is destroyed outside the lock.
        return;
    awaited_ = step_number;
    wait_.start(std::move(handler), executor_, nullptr);
    if (done_ >= awaited_)
        wait_.complete({});
}

void file_worker::end_wait(std::uint64_t number)
{
    const std::lock_guard guard(mutex_);
    if (wait_.number() == number)
        wait_.complete(error_code(asio::error::operation_aborted));
}

void file_worker::end_wait_later(std::uint64_t number, asio::steady_timer& timer)
{
    timer.expires_after(std::chrono::seconds(1));
    timer.async_wait([self = shared_from_this(), number](error_code ec) {
        if (!ec)
            self->end_wait(number);
    });
}

void file_worker::shutdown() noexcept
{
    asio::any_io_executor executor;
    const auto take_all = [&] {
        const std::lock_guard guard(mutex_);
        executor.swap(executor_);
        return wait_.take();
    };
    const auto handler = take_all(); // Destroyed outside the lock.
}

// On a worker thread.
void file_worker::work() noexcept
{
    for (task next; take(next);) {
        if (!next.is_dropped)
            next.function();
        next.function = nullptr; // Destroyed here, with the file that it may own.
        finish_step();
    }
}

bool file_worker::take(task& next)
{
    const std::lock_guard guard(mutex_);
    if (tasks_.empty()) {
        job_.reset();
        return false;
    }
    next = std::move(tasks_.front());
    tasks_.pop_front();
    return true;
}

void file_worker::finish_step()
{
    const std::lock_guard guard(mutex_);
    if (++done_ >= awaited_)
        wait_.complete({});
}

} // namespace avirt::detail
