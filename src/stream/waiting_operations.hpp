// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"

#include <avirt/detail/failure.hpp>

#include <cstddef>

namespace avirt::detail {

/// The operations that wait on a stream, as the stream's transport sees them.
class waiting_operations
{
public:
    /// The lock of the stream. It is held during every call to the other members, and to the transport.
    fork_safe_mutex& mutex() const noexcept
    {
        return mutex_;
    }

    /// Attempts the pending read again, and completes the waits for reading and for an error if they are
    /// over. Returns whether a read or a wait for reading was pending.
    virtual bool retry_reads() = 0;
    /// Attempts the pending write again, and completes the wait for writing if it is over. Returns whether a
    /// write or a wait for writing was pending.
    virtual bool retry_writes() = 0;
    /// Completes the pending write, which the transport has carried out elsewhere.
    virtual void complete_write(failure f, std::size_t bytes) = 0;

protected:
    ~waiting_operations() = default;

private:
    mutable fork_safe_mutex mutex_;
};

} // namespace avirt::detail
