// SPDX-License-Identifier: BSL-1.0
#include "core/connection_errors.hpp"

#include "core/error_categories.hpp"

#include <libvirt/virterror.h>

#include <cerrno>

namespace avirt::detail {
namespace {

/// Whether the RPC layer reports the error: libvirt's client of its connection to the daemon, or a daemon of
/// its connections to others. There is no number for these errors alone, and messages are translated
/// (docs/libvirt.md, "Errors").
bool is_of_rpc(const error_details& d) noexcept
{
    return d.domain == VIR_FROM_RPC && (d.code == VIR_ERR_INTERNAL_ERROR || d.code == VIR_ERR_SYSTEM_ERROR);
}

} // namespace

bool indicates_loss(const error_details& d) noexcept
{
    return is_of_rpc(d) && (d.code == VIR_ERR_INTERNAL_ERROR || d.int1 == EIO); // EIO: the socket's end
}

bool concerns_connection(const error_details& d) noexcept
{
    return is_of_rpc(d) || d.code == VIR_ERR_SSH || d.code == VIR_ERR_LIBSSH
        || d.code == VIR_ERR_GNUTLS_ERROR;
}

failure with_connection(failure f, bool is_alive)
{
    if (f && concerns_connection(f.details))
        f.code = is_alive ? libvirt_code(f.details)
                          : refined_libvirt_code(f.details.code, condition::connection_lost);
    return f;
}

} // namespace avirt::detail
