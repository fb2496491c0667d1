// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "event_operations.hpp"
#include "remote_fixture.hpp"

#include <avirt/supervised_connection.hpp>
#include <support/packet_proxy.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>

using namespace std::chrono_literals;
using domain_states = std::map<std::string, int>;

/// Applies a report to the states of a host's domains.
inline void update(domain_states& states, const avirt::host_report& report)
{
    if (const auto* connected = std::get_if<avirt::host_connected>(&report)) {
        states.clear();
        for (const auto& d : connected->domains)
            states[d.name] = d.state;
    }
    if (const auto* changed = std::get_if<avirt::domain_changed>(&report)) {
        if (changed->is_gone)
            states.erase(changed->status.name);
        else
            states[changed->status.name] = changed->status.state;
    }
}

struct supervised_daemon
{
    support::libvirtd own;
    std::atomic<int> proxied_calls{0};
    support::packet_proxy proxy{own.socket(), [this](const support::packet_proxy::packet& p) {
                                    proxied_calls +=
                                        p.from_client && p.type == support::packet_proxy::packet::kind::call;
                                    return support::packet_proxy::verdict::pass;
                                }};
};

/// A supervised connection to a daemon that stops and comes back.
struct supervision_fixture : supervised_daemon, with_events<remote_fixture>
{
    avirt::supervised_connection host;
    domain_states states; // as the reports say

    supervision_fixture() : with_events<remote_fixture>(own), host(io, options()) {}

    ~supervision_fixture()
    {
        host.close();
    }

    avirt::supervision_options options() const
    {
        avirt::supervision_options o;
        o.open.uri = uri;
        o.first_delay = 1ms;
        o.longest_delay = 20ms;
        return o;
    }

    avirt::host_report receive_report()
    {
        std::optional<avirt::host_report> received;
        host.async_receive([&](error_code ec, avirt::host_report r) {
            BOOST_TEST(ec == error_code());
            received = std::move(r);
        });
        run_until([&] { return received.has_value(); });
        update(states, *received);
        return std::move(*received);
    }

    /// The next report of this type; skips all others.
    template <class Report>
    Report next()
    {
        for (;;) {
            auto report = receive_report();
            if (auto* found = std::get_if<Report>(&report))
                return std::move(*found);
        }
    }

    void leave(int signal)
    {
        conn.close();
        daemon.leave(signal);
        run_until([&] { return daemon.has_left(); });
    }

    void come_back()
    {
        daemon.come_back();
        run_until([&] { return daemon.is_up(); });
        open(conn);
    }

    /// Starts to wait for a state, and returns once the wait has subscribed to events.
    outcome wait_for(int state, const std::string& name)
    {
        outcome waited;
        avirt::async_wait_for_state(conn, name, state, waited.handler());
        run_until([&] { return loop.stats().timeouts > 1 && loop.stats().running_calls == 0; });
        return waited;
    }

    /// Removes the guest's definition, as an administrator may while no daemon runs.
    void forget_guest(const std::string& name)
    {
        BOOST_TEST(std::filesystem::remove(daemon.directory() / ".config/libvirt/qemu" / (name + ".xml")));
    }
};
