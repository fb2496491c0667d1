// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace support {

/// How many of libvirt's messages have been translated in this process. A test that is linked with this file
/// sees libvirt's messages in another language: capital letters, which stay readable. What is decided by a
/// message's text is decided wrongly then.
int translations() noexcept;

} // namespace support
