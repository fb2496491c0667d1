// SPDX-License-Identifier: BSL-1.0
#include "connection/open.hpp"

#include "loop/connection_use.hpp"
#include "loop/socket_monitor.hpp"
#include "loop/socket_scopes.hpp"

#include <libvirt/virterror.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace avirt::detail {
namespace {

using std::chrono::seconds;

virConnectPtr open(const connect_options& options, const connection_socket& socket, failure& why)
{
    const unsigned read_only = options.read_only ? VIR_CONNECT_RO : 0;
    authentication auth(options);
    virConnectPtr connection = virConnectOpenAuth(
        options.uri.empty() ? nullptr : options.uri.c_str(), auth.native(), options.flags | read_only);
    if (!connection)
        why = auth.thrown() ? auth.thrown() : last_failure();
    // Without a socket no connection can have been lost: the host could not be resolved, for instance.
    if (why.details.code == VIR_ERR_INTERNAL_ERROR && !socket.is_remote)
        why = with_connection(std::move(why), true);
    auth.on_result(connection != nullptr);
    return connection;
}

void keep_alive(virConnectPtr connection, seconds interval, unsigned count)
{
    if (virConnectSetKeepAlive(connection, static_cast<int>(interval.count()), count) < 0)
        virResetLastError(); // The daemon does not support keepalive.
}

/// Whether the socket carries libvirt's messages unencrypted, so that avirt can write one without libvirt.
/// SASL does not encrypt on a Unix socket, but it may on a socket pair that leads to a command ("ext"). SSH
/// encrypts behind the socket.
bool is_plain(virConnectPtr connection, const connection_socket& socket)
{
    const std::unique_ptr<char, decltype(&std::free)> uri(virConnectGetURI(connection), &std::free);
    return uri && is_local(socket) && std::string_view(uri.get()).find("+ext:") == std::string_view::npos;
}

} // namespace

virConnectPtr connect(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why)
{
    const opening_scope scope(socket);
    virConnectPtr connection = open(options, *socket, why);
    if (connection && socket->is_remote && options.keepalive_interval > seconds(0)) {
        // One more than libvirt's count, so that libvirt reports first if it can send at all.
        socket->max_silence = options.keepalive_count + 1;
        keep_alive(connection, options.keepalive_interval, options.keepalive_count);
    }
    return connection;
}

virConnectPtr connect_for_stream(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why)
{
    // While the socket is not read, libvirt's PINGs keep the daemon from dropping the connection. The replies
    // stay unread in the socket as well, so libvirt must not count them as missing (docs/libvirt.md,
    // "Backpressure").
    constexpr seconds longest_interval{3};
    constexpr unsigned unreachable = 100'000'000;
    const bool is_off = options.keepalive_interval <= seconds(0);
    const auto interval = is_off ? longest_interval : std::min(options.keepalive_interval, longest_interval);

    const opening_scope scope(socket);
    virConnectPtr connection = open(options, *socket, why);
    if (connection && socket->is_remote) {
        const auto longest_silence = options.keepalive_interval * (options.keepalive_count + 1);
        socket->max_silence = is_off ? 0 : static_cast<unsigned>(longest_silence / interval);
        socket->is_plain = is_plain(connection, *socket);
        keep_alive(connection, interval, unreachable);
        enlarge_send_buffer(*socket);
        socket_monitor::instance().pause(*socket);
    }
    return connection;
}

std::shared_ptr<connection_socket> find_socket(
    virConnectPtr connection, const std::shared_ptr<connection_socket>& socket)
{
    // Any call to the daemon will do: the thread that makes it disables the socket's watch meanwhile.
    const daemon_wait work(socket);
    const socket_search search(socket);
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection, &version) < 0)
        virResetLastError();
    return search.found;
}

bool is_unwatched(virConnectPtr connection)
{
    // This changes nothing: without a watch there is no keepalive. Drivers in this process do not support it.
    const int result = virConnectSetKeepAlive(connection, -1, 0);
    const bool unwatched = result < 0 && virGetLastErrorCode() == VIR_ERR_INTERNAL_ERROR;
    virResetLastError();
    return unwatched;
}

failure unwatched_failure()
{
    failure f = error::no_event_loop;
    f.details.message = "the connection was opened before the event loop was made: libvirt does not watch it";
    return f;
}

failure open_timed_out()
{
    error_details details;
    details.domain = VIR_FROM_RPC;
    details.code = VIR_ERR_OPERATION_TIMEOUT;
    details.level = VIR_ERR_ERROR;
    details.message = "the daemon does not answer: the connection could not be opened in time";
    const error_code code(details.code, libvirt_category());
    return {code, std::move(details)};
}

} // namespace avirt::detail
