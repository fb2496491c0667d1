// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

namespace avirt::detail {

/// How an operation ended: a code for everybody, and the details for those who asked for them.
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

/// libvirt's last error of this thread. To be called on the thread that failed, before any other libvirt
/// call: each of them resets it (docs/libvirt.md, "Errors").
AVIRT_DECL failure last_failure();

/// Whether libvirt reports it of a connection to a daemon: of the one that was used, or of one that the
/// daemon has itself.
AVIRT_DECL bool concerns_connection(const error_details& d) noexcept;

/// The same failure, if it is known whether the connection lives on which libvirt reported it.
AVIRT_DECL failure with_connection(failure f, bool is_alive);

/// The exception being handled, as a failure.
AVIRT_DECL failure current_failure();

/// For what libvirt has no words: one of its domains, our message.
AVIRT_DECL failure describe_failure(int domain, const char* message, condition c);

/// The same failure, found by a condition that libvirt's number alone does not tell.
AVIRT_DECL failure refine(failure f, condition c);

} // namespace avirt::detail
