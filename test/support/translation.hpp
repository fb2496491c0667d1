// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace support {

/// The number of libvirt's messages that have been translated in this process. A test that is linked with
/// this file sees libvirt's messages in another language: in capital letters, which stay readable. A decision
/// that depends on a message's text is then wrong.
int translations() noexcept;

} // namespace support
