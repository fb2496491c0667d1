// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/post.hpp>

#include <optional>
#include <utility>

namespace avirt::detail {

/// The first operation that a dispatch of the loop completes. Its handler is invoked as soon as the dispatch
/// is over, on a clean stack and without locks, as the context would invoke the handler of an operation of
/// its own. If it were posted, the context would first look for other events. All further operations are
/// posted, so that other threads of the context can invoke their handlers at once.
///
/// Each dispatch has an object of this class on its stack.
class dispatch_completion
{
public:
    /// @param context The loop's context, which the calling thread runs. Null: all operations are posted.
    explicit dispatch_completion(const asio::execution_context* context) noexcept;
    dispatch_completion(const dispatch_completion&) = delete;
    dispatch_completion& operator=(const dispatch_completion&) = delete;
    /// Posts the completion if a callback has thrown, so that run() was not called.
    ~dispatch_completion();

    /// Call after the dispatch.
    void run();

    /// Calls function() from the executor's context, but not before the caller has returned.
    template <class Function>
    static void defer(const asio::any_io_executor& executor, Function function)
    {
        if (auto* const self = for_executor(executor))
            self->first_.emplace(executor, std::move(function));
        else
            asio::post(executor, std::move(function));
    }

    /// Whether a completion waits for the end of the dispatch that the calling thread runs.
    static bool is_waiting() noexcept;

private:
    struct completion
    {
        asio::any_io_executor executor;
        asio::any_completion_handler<void()> function;

        template <class Function>
        completion(const asio::any_io_executor& e, Function f) : executor(e),
                                                                 function(std::move(f))
        {
        }
    };

    static dispatch_completion* for_executor(const asio::any_io_executor& executor) noexcept;

    const asio::execution_context* const context_;
    dispatch_completion* const outer_; // A callback of that dispatch runs the context.
    std::optional<completion> first_;
};

} // namespace avirt::detail
