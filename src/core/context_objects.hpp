// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace avirt::detail {

/// Something with handlers pending on an execution context: they must be destroyed, uninvoked, when the
/// context is, or what they own (a suspended coroutine) leaks.
class context_object
{
public:
    /// The context ends. May be called twice; afterwards nothing may refer to the context.
    virtual void shutdown() noexcept = 0;

protected:
    ~context_object() = default;
};

/// A strand of the executor's; an empty executor has none.
boost::asio::any_io_executor strand_of(const boost::asio::any_io_executor& executor);

/// The objects of one context.
class context_objects
{
public:
    /// Those of the executor's context.
    static std::shared_ptr<context_objects> of(const boost::asio::any_io_executor& executor);

    /// Adds an object, which must be shared already; dead ones are forgotten in passing.
    void add(std::weak_ptr<context_object> object);
    void shutdown() noexcept;

private:
    fork_safe_mutex mutex_;
    std::vector<std::weak_ptr<context_object>> objects_;
    std::size_t sweep_at_ = 16;
};

} // namespace avirt::detail
