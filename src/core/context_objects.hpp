// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution_context.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace avirt::detail {

/// An object with handlers pending on an execution context. When the context is destroyed, the handlers must
/// be destroyed without being called; otherwise the objects that they own (a suspended coroutine) leak.
class context_object
{
public:
    /// Destroys the handlers, because the context ends. May be called twice. Afterwards the object must not
    /// refer to the context.
    virtual void shutdown() noexcept = 0;

protected:
    ~context_object() = default;
};

/// Makes a strand for the executor; an empty executor for an empty one.
boost::asio::any_io_executor strand_of(const boost::asio::any_io_executor& executor);

/// The objects of one context.
class context_objects
{
public:
    /// Returns the objects of the executor's context.
    static std::shared_ptr<context_objects> of(const boost::asio::any_io_executor& executor);

    /// Adds an object, which a shared_ptr must own already. Now and then, removes objects that no longer
    /// exist.
    void add(std::weak_ptr<context_object> object);
    void shutdown() noexcept;

private:
    fork_safe_mutex mutex_;
    std::vector<std::weak_ptr<context_object>> objects_;
    std::size_t sweep_at_ = 16; // the size at which expired objects are removed
};

} // namespace avirt::detail
