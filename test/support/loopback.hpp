// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace support {

/// Returns a TCP port of 127.0.0.1 that is free, and that the kernel does not assign by itself.
int free_port();

/// Whether a process accepts connections on the port.
bool is_listened_on(int port);

} // namespace support
