// SPDX-License-Identifier: BSL-1.0
//
// Prints every event of a host, one per line, until it is ended. libvirtd may be restarted meanwhile.
//
//     watch_events [URI]
//
// On SIGUSR1 it prints the domains and their states as it knows them; SIGINT and SIGTERM end it.

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>
#include <libvirt/libvirt.h>

#include <chrono>
#include <ctime>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace asio = boost::asio;

// ---- lines

/// Begins a line of output with the time.
std::ostream& line()
{
    using namespace std::chrono;
    const auto now = system_clock::now();
    const auto seconds = system_clock::to_time_t(now);
    const auto rest = duration_cast<milliseconds>(now.time_since_epoch()).count() % 1000;
    std::tm local{};
    localtime_r(&seconds, &local);
    return std::cout << std::put_time(&local, "%F %T") << '.' << std::setw(3) << std::setfill('0') << rest
                     << std::setfill(' ') << ' ';
}

/// The name of an event's object. libvirt knows these names without asking the daemon.
std::string name_of(const avirt::domain& domain)
{
    return std::string("domain ") + virDomainGetName(domain.get());
}

std::string name_of(const avirt::network& network)
{
    return std::string("network ") + virNetworkGetName(network.get());
}

std::string name_of(const avirt::storage_pool& pool)
{
    return std::string("storage pool ") + virStoragePoolGetName(pool.get());
}

std::string name_of(const avirt::node_device& device)
{
    return std::string("node device ") + virNodeDeviceGetName(device.get());
}

std::string name_of(const avirt::secret& secret)
{
    char uuid[VIR_UUID_STRING_BUFLEN] = {};
    virSecretGetUUIDString(secret.get(), uuid);
    return std::string("secret ") + uuid;
}

std::ostream& operator<<(std::ostream& out, const std::vector<avirt::typed_parameter>& parameters)
{
    for (const auto& p : parameters) {
        out << p.field << '=';
        std::visit([&](const auto& value) { out << value; }, p.value);
        out << ' ';
    }
    return out;
}

template <class Object>
void print(const Object& about, std::string_view what)
{
    line() << name_of(about) << ": " << what << std::endl;
}

/// print(object, "happening", "name", value, "name", value, ...)
template <class Object, class... Values>
void print(const Object& about, std::string_view what, const Values&... values)
{
    line() << name_of(about) << ": " << what;
    bool is_name = true;
    ((std::cout << (is_name ? " " : "=") << values, is_name = !is_name), ...);
    std::cout << std::endl;
}

// ---- all events but the domains' lifecycle, which the supervised connection reports

void print(const avirt::domain_reboot& e)
{
    print(e.domain, "reboots");
}

void print(const avirt::domain_rtc_change& e)
{
    print(e.domain, "clock set", "offset", e.utcoffset);
}

void print(const avirt::domain_watchdog& e)
{
    print(e.domain, "watchdog", "action", e.action);
}

void print(const avirt::domain_io_error_reason& e)
{
    print(
        e.domain, "I/O error", "path", e.srcPath, "device", e.devAlias, "action", e.action, "reason",
        e.reason);
}

void print(const avirt::domain_graphics& e)
{
    print(
        e.domain, "display", "phase", e.phase, "client", e.remote.node + ':' + e.remote.service, "scheme",
        e.authScheme);
}

void print(const avirt::domain_control_error& e)
{
    print(e.domain, "control error");
}

void print(const avirt::domain_block_job_2& e)
{
    print(e.domain, "block job", "disk", e.disk, "type", e.type, "status", e.status);
}

void print(const avirt::domain_disk_change& e)
{
    print(
        e.domain, "disk changed", "device", e.devAlias, "from", e.oldSrcPath, "to", e.newSrcPath, "reason",
        e.reason);
}

void print(const avirt::domain_tray_change& e)
{
    print(e.domain, "tray", "device", e.devAlias, "reason", e.reason);
}

void print(const avirt::domain_pmwakeup& e)
{
    print(e.domain, "wakes up");
}

void print(const avirt::domain_pmsuspend& e)
{
    print(e.domain, "suspends itself to memory");
}

void print(const avirt::domain_pmsuspend_disk& e)
{
    print(e.domain, "suspends itself to disk");
}

void print(const avirt::domain_balloon_change& e)
{
    print(e.domain, "balloon", "KiB", e.actual);
}

void print(const avirt::domain_device_added& e)
{
    print(e.domain, "device added", "device", e.devAlias);
}

void print(const avirt::domain_device_removed& e)
{
    print(e.domain, "device removed", "device", e.devAlias);
}

void print(const avirt::domain_device_removal_failed& e)
{
    print(e.domain, "device not removed", "device", e.devAlias);
}

void print(const avirt::domain_tunable& e)
{
    print(e.domain, "tuned", e.params);
}

void print(const avirt::domain_agent_lifecycle& e)
{
    print(e.domain, "agent", "state", e.state, "reason", e.reason);
}

void print(const avirt::domain_migration_iteration& e)
{
    print(e.domain, "migrates", "iteration", e.iteration);
}

void print(const avirt::domain_job_completed& e)
{
    print(e.domain, "job completed", e.params);
}

void print(const avirt::domain_metadata_change& e)
{
    print(e.domain, "metadata", "type", e.type, "uri", e.nsuri);
}

void print(const avirt::domain_block_threshold& e)
{
    print(
        e.domain, "block threshold", "device", e.dev, "path", e.path, "threshold", e.threshold, "excess",
        e.excess);
}

void print(const avirt::domain_memory_failure& e)
{
    print(e.domain, "memory failure", "recipient", e.recipient, "action", e.action, "flags", e.flags);
}

void print(const avirt::domain_memory_device_size_change& e)
{
    print(e.domain, "memory device", "device", e.alias, "KiB", e.size);
}

#if LIBVIR_CHECK_VERSION(11, 2, 0)
void print(const avirt::domain_nic_mac_change& e)
{
    print(e.domain, "MAC address", "device", e.alias, "from", e.oldMAC, "to", e.newMAC);
}
#endif

#if LIBVIR_CHECK_VERSION(12, 4, 0)
void print(const avirt::domain_vcpu_removed& e)
{
    print(e.domain, "CPU removed", "cpu", e.vcpuid);
}

void print(const avirt::domain_channel_lifecycle& e)
{
    print(e.domain, "channel", "name", e.channelName, "state", e.state, "reason", e.reason);
}
#endif

void print(const avirt::network_lifecycle& e)
{
    constexpr const char* names[] = {"defined", "undefined", "started", "stopped"};
    print(e.network, e.event >= 0 && e.event < 4 ? names[e.event] : "changed");
}

#if LIBVIR_CHECK_VERSION(9, 8, 0)
void print(const avirt::network_metadata_change& e)
{
    print(e.network, "metadata", "type", e.type, "uri", e.nsuri);
}
#endif

void print(const avirt::storage_pool_lifecycle& e)
{
    constexpr const char* names[] = {"defined", "undefined", "started", "stopped", "created", "deleted"};
    print(e.pool, e.event >= 0 && e.event < 6 ? names[e.event] : "changed");
}

void print(const avirt::storage_pool_refresh& e)
{
    print(e.pool, "refreshed");
}

void print(const avirt::node_device_lifecycle& e)
{
    constexpr const char* names[] = {"created", "deleted", "defined", "undefined"};
    print(e.device, e.event >= 0 && e.event < 4 ? names[e.event] : "changed");
}

void print(const avirt::node_device_update& e)
{
    print(e.device, "updated");
}

void print(const avirt::secret_lifecycle& e)
{
    constexpr const char* names[] = {"defined", "undefined"};
    print(e.secret, e.event >= 0 && e.event < 2 ? names[e.event] : "changed");
}

void print(const avirt::secret_value_changed& e)
{
    print(e.secret, "value changed");
}

// ---- the program

/// Prints the events of one type, until the supervision ends.
template <class Event>
asio::awaitable<void> watch(avirt::supervised_connection& host)
{
    avirt::event_source<Event> source{host.connection()};
    host.follow(source);
    for (;;) {
        auto [ec, event] = co_await source.async_receive(asio::as_tuple(asio::use_awaitable));
        if (ec == avirt::error::not_open)
            co_return;
        if (ec == avirt::error::events_lost)
            line() << source.lost() << " events were lost" << std::endl;
        else if (!ec) // Lost connections are printed by follow(). Other errors tell of unsupported events.
            print(event);
    }
}

template <class... Events>
void watch_all(avirt::supervised_connection& host)
{
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    (asio::co_spawn(host.get_executor(), watch<Events>(host), rethrow), ...);
}

/// The domains and their states as last reported, by UUID.
using known_domains = std::map<std::string, avirt::domain_status>;

void print(const known_domains& domains)
{
    for (const auto& [uuid, domain] : domains)
        line() << "= " << domain.name << ": " << avirt::to_string(virDomainState(domain.state)) << std::endl;
    line() << "= " << domains.size() << " domains" << std::endl;
}

void note(known_domains& domains, const avirt::host_connected& report)
{
    domains.clear();
    for (const auto& d : report.domains)
        domains[d.uuid] = avirt::domain_status{.name = d.name, .uuid = d.uuid, .state = d.state};
    line() << "connected" << std::endl;
    print(domains);
}

void note(known_domains&, const avirt::host_disconnected& report)
{
    const auto& said = report.details.message;
    line() << "not connected: " << (said.empty() ? report.error.message() : said) << "; next try in "
           << report.retry_in.count() << " ms" << std::endl;
}

void note(known_domains& domains, const avirt::domain_changed& report)
{
    const auto& s = report.status;
    line() << "domain " << s.name << ": " << avirt::to_string(virDomainEventType(report.event)) << ", now "
           << (report.is_gone ? "gone" : avirt::to_string(virDomainState(s.state))) << std::endl;
    if (report.is_gone)
        domains.erase(s.uuid);
    else
        domains[s.uuid] = avirt::domain_status{.name = s.name, .uuid = s.uuid, .state = s.state};
}

asio::awaitable<void> follow(avirt::supervised_connection& host, known_domains& domains)
{
    for (;;) {
        auto [ec, report] = co_await host.async_receive(asio::as_tuple(asio::use_awaitable));
        if (ec == avirt::error::not_open || ec == asio::error::operation_aborted)
            co_return;
        if (!ec) // Otherwise reports were lost; a report of the current state follows.
            std::visit([&](const auto& r) { note(domains, r); }, report);
    }
}

asio::awaitable<void> obey_signals(avirt::supervised_connection& host, const known_domains& domains)
{
    asio::signal_set signals(host.get_executor(), SIGINT, SIGTERM, SIGUSR1);
    while (co_await signals.async_wait(asio::use_awaitable) == SIGUSR1)
        print(domains);
    host.close();
}

int main(int argc, char* argv[])
try {
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        std::cerr << "usage: watch_events [URI]\n"
                     "Prints every event of a host; libvirtd may be restarted meanwhile.\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    avirt::supervision_options options;
    options.open.uri = argc == 2 ? argv[1] : "";
    options.open.read_only = true;
    options.longest_delay = std::chrono::seconds(5);
    avirt::supervised_connection host{io, options};
    known_domains domains;
    const auto rethrow = [](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
    };
    asio::co_spawn(io, obey_signals(host, domains), rethrow);
    asio::co_spawn(io, follow(host, domains), rethrow);
    watch_all<
        avirt::domain_reboot, avirt::domain_rtc_change, avirt::domain_watchdog, avirt::domain_io_error_reason,
        avirt::domain_graphics, avirt::domain_control_error, avirt::domain_block_job_2,
        avirt::domain_disk_change, avirt::domain_tray_change, avirt::domain_pmwakeup, avirt::domain_pmsuspend,
        avirt::domain_pmsuspend_disk, avirt::domain_balloon_change, avirt::domain_device_added,
        avirt::domain_device_removed, avirt::domain_device_removal_failed, avirt::domain_tunable,
        avirt::domain_agent_lifecycle, avirt::domain_migration_iteration, avirt::domain_job_completed,
        avirt::domain_metadata_change, avirt::domain_block_threshold, avirt::domain_memory_failure,
        avirt::domain_memory_device_size_change, avirt::network_lifecycle, avirt::storage_pool_lifecycle,
        avirt::storage_pool_refresh, avirt::node_device_lifecycle, avirt::node_device_update,
        avirt::secret_lifecycle, avirt::secret_value_changed>(host);
#if LIBVIR_CHECK_VERSION(9, 8, 0)
    watch_all<avirt::network_metadata_change>(host);
#endif
#if LIBVIR_CHECK_VERSION(11, 2, 0)
    watch_all<avirt::domain_nic_mac_change>(host);
#endif
#if LIBVIR_CHECK_VERSION(12, 4, 0)
    watch_all<avirt::domain_vcpu_removed, avirt::domain_channel_lifecycle>(host);
#endif
    io.run();
}
catch (const std::exception& e) {
    std::cerr << "watch_events: " << e.what() << '\n';
    return 1;
}
