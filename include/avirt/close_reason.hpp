// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <libvirt/libvirt.h>

namespace avirt {

/// Why a connection ended: virConnectCloseReason.
enum class close_reason {
    error = VIR_CONNECT_CLOSE_REASON_ERROR,         ///< None of the other reasons.
    eof = VIR_CONNECT_CLOSE_REASON_EOF,             ///< The daemon, or the way to it, is gone.
    keepalive = VIR_CONNECT_CLOSE_REASON_KEEPALIVE, ///< The daemon did not answer.
    client = VIR_CONNECT_CLOSE_REASON_CLIENT        ///< async_close(), or the cancellation of a call.
};

} // namespace avirt
