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
    authentication asked(options);
    virConnectPtr connection = virConnectOpenAuth(
        options.uri.empty() ? nullptr : options.uri.c_str(), asked.native(), options.flags | read_only);
    if (!connection)
        why = asked.thrown() ? asked.thrown() : last_failure();
    // What never had a socket has not lost it: a host that cannot be resolved, for instance.
    if (why.details.code == VIR_ERR_INTERNAL_ERROR && !socket.is_remote)
        why = with_connection(std::move(why), true);
    asked.ended(connection != nullptr);
    return connection;
}

void keep_alive(virConnectPtr connection, seconds interval, unsigned count)
{
    if (virConnectSetKeepAlive(connection, static_cast<int>(interval.count()), count) < 0)
        virResetLastError(); // The other side does not know of it.
}

/// Whether libvirt's messages can be written past libvirt. On a Unix socket SASL does not encrypt, but in a
/// pair that leads to a command it may ("ext"); what SSH encrypts it takes unencrypted.
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
        // libvirt's own count comes first, where it can send at all.
        socket->max_silence = options.keepalive_count + 1;
        keep_alive(connection, options.keepalive_interval, options.keepalive_count);
    }
    return connection;
}

virConnectPtr connect_for_stream(
    const connect_options& options, const std::shared_ptr<connection_socket>& socket, failure& why)
{
    // Our PINGs are what keeps a daemon content whose own we leave in the socket; that their answers stay
    // there too must not count (docs/libvirt.md, "Backpressure").
    constexpr seconds longest_interval{3};
    constexpr unsigned unreachable = 100'000'000;
    const bool is_off = options.keepalive_interval <= seconds(0);
    const auto interval = is_off ? longest_interval : std::min(options.keepalive_interval, longest_interval);

    const opening_scope scope(socket);
    virConnectPtr connection = open(options, *socket, why);
    if (connection && socket->is_remote) {
        const auto patience = options.keepalive_interval * (options.keepalive_count + 1);
        socket->max_silence = is_off ? 0 : static_cast<unsigned>(patience / interval);
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
    // Whatever asks the daemon will do: the thread that asks disables the socket's watch meanwhile.
    const daemon_wait work(socket);
    const socket_search search(socket);
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection, &version) < 0)
        virResetLastError();
    return search.found;
}

bool is_unwatched(virConnectPtr connection)
{
    // Nothing is changed by it: without a watch there is no keepalive. Drivers in this process do not know of
    // it at all.
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
    details.message = "the connection could not be opened in time";
    const error_code code(details.code, libvirt_category());
    return {code, std::move(details)};
}

} // namespace avirt::detail
