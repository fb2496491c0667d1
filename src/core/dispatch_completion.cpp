// SPDX-License-Identifier: BSL-1.0
#include "core/dispatch_completion.hpp"

namespace avirt::detail {
namespace {

thread_local dispatch_completion* current = nullptr;

} // namespace

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
    if (auto completed = std::exchange(first_, std::nullopt))
        completed->executor.execute(std::move(completed->function)); // Here, unless it is a busy strand.
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
