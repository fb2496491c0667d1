// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <string_view>

namespace avirt {

/// The state of a console session.
enum class console_state {
    host_away,   ///< The connection to the host is lost, or has not been opened yet.
    off,         ///< The guest does not run or does not exist, or a session on demand is not needed.
    opening,     ///< The console is being opened, or is about to be opened again.
    attached,    ///< The console is open.
    paused,      ///< The console is open, and the guest is paused.
    stalled,     ///< The console is open, and input waits that the guest, which may be paused, does not take.
    taken_over,  ///< Another session has taken the console over. This one waits until it is free.
    unavailable, ///< The console cannot be opened: another session has it, there is no such device, ...
    closed,      ///< The session, or its host, has been closed.
};

/// Names a state: "host away", "off", "opening", ... The text has static storage.
///
/// @code
/// std::cout << "the console is " << avirt::to_string(session.state()) << '\n';
/// @endcode
AVIRT_DECL std::string_view to_string(console_state state) noexcept;

} // namespace avirt
