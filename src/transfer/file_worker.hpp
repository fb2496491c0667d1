// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

namespace avirt::detail {

/// Executes the accesses to one file on worker threads, one after the other, for one coroutine. A file system
/// that hangs delays nothing but this.
class file_worker final : public context_object, public std::enable_shared_from_this<file_worker>
{
public:
    using step = std::function<void()>;

    static std::shared_ptr<file_worker> make(const asio::any_io_executor& executor);

    explicit file_worker(const asio::any_io_executor& executor);

    /// Adds a step, which must not throw. It owns what it uses, because it may still be running when the
    /// coroutine has ended. Steps are numbered from 1.
    ///
    /// @return The number; 0 if no thread can be created, with the reason in @p f.
    std::uint64_t post(step s, failure& f);

    /// When a cancellation ends a wait. With delayed, the step has a second to end first: a file system may
    /// hang.
    enum class cancellation { immediate, delayed };

    /// Waits until the step, and each one before it, is done. Fails only if the wait is cancelled.
    asio::awaitable<failure> wait(std::uint64_t step_number, cancellation c = cancellation::immediate);

    /// Executes a function on a worker thread after all earlier steps. The failure is that of the function,
    /// or of the wait.
    asio::awaitable<failure> run(std::function<failure()> function, cancellation c = cancellation::immediate);

    enum class unstarted { execute, drop };

    /// Adds the last step, which is certain to be executed. From now on the loop does not wait for a step
    /// that is running.
    ///
    /// @param others What happens to the steps that have not begun: those that are dropped are only
    /// destroyed.
    void end_with(step last, unstarted others) noexcept;

    /// Waits until the last step is done, at most for a second. Cannot be cancelled.
    asio::awaitable<void> wait_for_end();

    void shutdown() noexcept override;

private:
    using operation = pending_operation<void(error_code)>;

    struct task
    {
        step function{};
        bool is_dropped = false;
    };

    bool is_done(std::uint64_t step_number);
    std::uint64_t next_wait();
    void start_wait(std::uint64_t step_number, wait_handler handler);
    void end_wait(std::uint64_t number);
    void end_wait_later(std::uint64_t number, asio::steady_timer& timer);
    void work() noexcept;
    bool take(task& next);
    void finish_step();

    fork_safe_mutex mutex_;
    const std::shared_ptr<job_lane> lane_ = std::make_shared<job_lane>();
    asio::any_io_executor executor_; // empty: the context has ended
    std::deque<task> tasks_;
    job_ptr job_; // while steps are executed
    std::uint64_t posted_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t awaited_ = 0;
    operation wait_;
};

} // namespace avirt::detail
