// SPDX-License-Identifier: BSL-1.0
#include "core/dispatch_completion.hpp"

namespace avirt::detail {
namespace {

thread_local dispatch_completion* current = nullptr;
thread_local dispatch_completion* invoking = nullptr; // The one whose run() invokes a handler.

} // namespace

/// While it exists, run() invokes a handler.
class dispatch_completion::invocation
{
public:
    invocation(dispatch_completion& by, const asio::any_io_executor& on) noexcept
        : outer_(std::exchange(invoking, &by))
    {
        by.invoked_on_ = &on;
    }

    ~invocation()
    {
        invoking = outer_;
    }

    invocation(const invocation&) = delete;
    invocation& operator=(const invocation&) = delete;

private:
    dispatch_completion* const outer_;
};

dispatch_completion::dispatch_completion(const asio::execution_context* context) noexcept
    : context_(context),
      outer_(std::exchange(current, this))
{
}

dispatch_completion::~dispatch_completion()
{
    current = outer_;
    if (first_)
        asio::post(first_->executor, std::move(first_->function));
}

void dispatch_completion::run()
{
    current = outer_; // The handler is not part of the dispatch.
    if (auto completed = std::exchange(first_, std::nullopt)) {
        const invocation guard(*this, completed->executor);
        completed->executor.execute(std::move(completed->function)); // Here, unless it is a busy strand.
    }
    if (auto forwarded = std::exchange(first_, std::nullopt))
        forwarded->executor.execute(std::move(forwarded->function));
}

dispatch_completion::forwarding::forwarding(const asio::any_io_executor& strand) noexcept : outer_(current)
{
    if (invoking && *invoking->invoked_on_ == strand)
        current = invoking;
}

dispatch_completion::forwarding::~forwarding()
{
    current = outer_;
}

bool dispatch_completion::is_waiting() noexcept
{
    return current && current->first_;
}

/// Returns null if the calling thread runs no dispatch of the executor's context, or if a completion waits
/// already.
dispatch_completion* dispatch_completion::for_executor(const asio::any_io_executor& executor) noexcept
{
    if (!current || current->first_)
        return nullptr;
    return &asio::query(executor, asio::execution::context) == current->context_ ? current : nullptr;
}

} // namespace avirt::detail
