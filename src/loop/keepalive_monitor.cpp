// SPDX-License-Identifier: BSL-1.0
#include "loop/keepalive_monitor.hpp"

#include <utility>

namespace avirt::detail {
namespace {

/// libvirt restarts the timer for every message that it reads. The progress of messages that are left in the
/// socket shows in the socket alone.
bool was_silent_for_too_long(const timeout_table::timeout& keepalive) noexcept
{
    auto& socket = *keepalive.socket;
    const auto before = std::exchange(socket.held, measure_buffers(socket));
    const auto& now = socket.held;
    // A thread that waits in a call also restarts the timer for each PING that is sent meanwhile.
    const bool was_restarted_by_ping = keepalive.by_calls && socket.is_plain && now.unsent != 0;
    const bool was_restarted = keepalive.in_a_row == 1 && !was_restarted_by_ping;
    const bool has_received = was_restarted || now.unread != before.unread;
    // If the daemon has taken everything, its answer may be behind data that is left in the socket.
    const bool has_taken = now.unsent < before.unsent || (now.unsent == 0 && now.unread != 0);
    socket.silence = has_received || has_taken ? 0 : socket.silence + 1;
    return socket.max_silence != 0 && socket.silence >= socket.max_silence;
}

bool leaves_data_unread(const watch_table::watch* w, const connection_socket& socket) noexcept
{
    return w && w->reading != watch_table::flow::open && socket.is_plain && socket.held.unread != 0;
}

} // namespace

keepalive_action supervise_keepalive(const timeout_table::timeout& keepalive, watch_table& watches) noexcept
{
    const auto& socket = *keepalive.socket;
    if (socket.fd < 0)
        return keepalive_action::call_libvirt;
    if (was_silent_for_too_long(keepalive))
        return keepalive_action::interrupt;
    if (room_to_send(socket, 1) == 0)
        return keepalive_action::skip;
    const auto* w = watches.find(socket.watch);
    if (!leaves_data_unread(w, socket))
        return keepalive_action::call_libvirt;
    // A thread that is about to send or call disables the watch first, so no thread sends now.
    if (w->events == VIR_EVENT_HANDLE_READABLE)
        return keepalive_action::send_pong;
    // What libvirt has to send, such as the answer to a PING, keeps the daemon content as well.
    return w->events & VIR_EVENT_HANDLE_WRITABLE ? keepalive_action::serve_writable : keepalive_action::skip;
}

} // namespace avirt::detail
