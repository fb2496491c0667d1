// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

namespace avirt::detail {

/// How an operation failed: its code, and the details for with_details(). Without a code it succeeded.
struct failure
{
    error_code code{};
    error_details details{};

    failure() = default;

    failure(error_code c) : code(c) {}

    failure(error e) : code(e) {}

    failure(error_code c, error_details d) : code(c), details(std::move(d)) {}

    explicit operator bool() const noexcept
    {
        return code.failed();
    }
};

/// libvirt's last error of this thread. It must be called on the thread that failed, before any other libvirt
/// call: each call resets the error (docs/libvirt.md, "Errors").
AVIRT_DECL failure last_failure();

/// Whether libvirt reports the error about a connection to a daemon: the one that was used, or one that the
/// daemon has itself.
AVIRT_DECL bool concerns_connection(const error_details& d) noexcept;

/// Returns the failure with the code that it has if it is known whether the connection, on which libvirt
/// reported it, is alive.
AVIRT_DECL failure with_connection(failure f, bool is_alive);

/// The exception being handled, as a failure.
AVIRT_DECL failure current_failure();

/// A failure for which libvirt has no message of its own. @p domain is one of libvirt's.
AVIRT_DECL failure describe_failure(int domain, const char* message, condition c);

/// Returns the failure with a code that also compares equal to the condition, which libvirt's number alone
/// does not tell.
AVIRT_DECL failure refine(failure f, condition c);

} // namespace avirt::detail
