// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace support {

/// A TCP port of 127.0.0.1 that nobody has now, and that the kernel gives to nobody by itself.
int free_port();

/// Whether somebody takes connections there.
bool is_listened_on(int port);

} // namespace support
