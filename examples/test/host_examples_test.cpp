// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"
#include "example.hpp"

#include <support/eventually.hpp>
#include <support/libvirtd.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>

// Runs watch_events, with a daemon that is killed again and again, and list_domains. The test itself has no
// event loop: it uses the daemon like any other client.

namespace {

namespace fs = std::filesystem;
struct watcher : example
{
    watcher(const std::string& uri, fs::path output) : example(WATCH_EVENTS, {uri}, std::move(output)) {}

    /// The states of the domains as the example knows them.
    states known() const
    {
        const auto before = printed().size();
        signal(SIGUSR1);
        std::string answer;
        const bool has_answered = support::eventually([&] {
            answer = printed().substr(before);
            return answer.find(" domains\n") != std::string::npos;
        });
        BOOST_TEST_REQUIRE(has_answered);
        states result;
        std::istringstream lines(answer);
        for (std::string line; std::getline(lines, line);) {
            const auto name = line.find(" = ");
            const auto state = line.rfind(": ");
            if (name != std::string::npos && state != std::string::npos && state > name)
                result[line.substr(name + 3, state - name - 3)] = line.substr(state + 2);
        }
        return result;
    }
};

struct watch_fixture
{
    support::libvirtd daemon;
    domains all{daemon};

    watch_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        all.connect();
    }

    void restart(void (*meanwhile)(watch_fixture&, int), int round)
    {
        all.disconnect();
        daemon.leave(SIGKILL);
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.has_left(); }));
        meanwhile(*this, round);
        daemon.come_back();
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.is_up(); }));
        all.connect();
    }

    /// Removes the domain's file, as an administrator might.
    void forget(const std::string& name)
    {
        fs::remove(daemon.directory() / ".config/libvirt/qemu" / (name + ".xml"));
    }

    void check_known_states(const watcher& w)
    {
        states is, known;
        const bool is_right = support::eventually([&] {
            is = all.now();
            known = w.known();
            return is == known;
        });
        BOOST_TEST(is_right);
        BOOST_TEST(is.size() == known.size());
        for (const auto& [name, state] : is) {
            BOOST_TEST_INFO(name << " is " << state << ", not " << known[name]);
            BOOST_TEST(known[name] == state);
        }
    }
};

std::string name_of(int round)
{
    return "d" + std::to_string(round);
}

BOOST_FIXTURE_TEST_SUITE(watch_events, watch_fixture)

BOOST_AUTO_TEST_CASE(a_line_for_each_event)
{
    watcher w(daemon.uri(), daemon.directory() / "output");
    BOOST_TEST_REQUIRE(support::eventually([&] { return w.has_printed("connected\n"); }));
    all.define("vm");
    all.change("vm", virDomainCreate);
    all.change("vm", virDomainSuspend);
    all.change("vm", virDomainDestroy);
    all.change("vm", virDomainUndefine);
    for (const char* line :
         {" domain vm: defined, now ", " domain vm: started, now ", " domain vm: suspended, now ",
          " domain vm: stopped, now ", " domain vm: undefined, now gone\n", "= 0 domains\n"})
        BOOST_TEST(support::eventually([&] { return w.has_printed(line); }), line);
    check_known_states(w);
    BOOST_TEST(w.end(SIGINT) == 0);
}

BOOST_AUTO_TEST_CASE(a_hundred_restarts)
{
    watcher w(daemon.uri(), daemon.directory() / "output");
    for (int round = 0; round < 100; ++round) {
        all.define(name_of(round));
        if (round % 10 == 0)
            all.change(name_of(round), virDomainCreate);
        const auto meanwhile = [](watch_fixture& f, int r) {
            if (r % 3 == 2)
                f.forget(name_of(r - 1));
        };
        restart(meanwhile, round);
        if (round % 10 == 0)
            all.suspend_when_found(name_of(round));
        if (round % 10 == 5) {
            all.suspend_when_found(name_of(round - 5));
            all.change(name_of(round - 5), virDomainDestroy);
        }
        if (round % 3 == 0 && round % 10 != 0)
            all.change(name_of(round), virDomainUndefine);
        check_known_states(w);
    }
    BOOST_TEST(w.has_printed("not connected: "));
    BOOST_TEST(w.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(no_daemon)
{
    watcher w("qemu+unix:///session?socket=/nonexistent/socket", daemon.directory() / "output");
    BOOST_TEST(support::eventually([&] { return w.has_printed("'/nonexistent/socket'"); }), w.printed());
    BOOST_TEST(w.has_printed("next try in "));
    BOOST_TEST(w.end(SIGINT) == 0);
}

BOOST_AUTO_TEST_CASE(wrong_usage)
{
    watcher w("--help", daemon.directory() / "output");
    BOOST_TEST(support::eventually([&] { return w.has_printed("usage: "); }));
    BOOST_TEST(w.end(0) == 2);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(list_domains, watch_fixture)

BOOST_AUTO_TEST_CASE(each_domain_with_its_state)
{
    all.define("idle");
    all.define("busy");
    all.change("busy", virDomainCreate);
    example list(LIST_DOMAINS, {daemon.uri()}, daemon.directory() / "output");
    BOOST_TEST(list.end(0) == 0);
    const auto lines = list.printed();
    BOOST_TEST(lines.find("  -  idle ") != std::string::npos, lines);
    BOOST_TEST(lines.find("shut off\n") != std::string::npos, lines);
    BOOST_TEST(lines.find("  1  busy ") != std::string::npos, lines);
    BOOST_TEST(lines.find("running\n") != std::string::npos, lines);
}

BOOST_AUTO_TEST_CASE(no_daemon)
{
    example list(
        LIST_DOMAINS, {"qemu+unix:///session?socket=/nonexistent/socket"}, daemon.directory() / "output");
    BOOST_TEST(list.end(0) == 1);
    BOOST_TEST(list.has_printed("'/nonexistent/socket'"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
