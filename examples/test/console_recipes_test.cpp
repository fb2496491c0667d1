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
#include <string>

// Runs the recipes that use a console.

namespace {

const std::string greeting = "avirt demo guest: type, and it comes back\r\n";

int start_paused(virDomainPtr domain)
{
    return virDomainCreateWithFlags(domain, VIR_DOMAIN_START_PAUSED);
}

struct console_fixture
{
    support::libvirtd daemon;
    domains all{daemon};
    const std::filesystem::path output = daemon.directory() / "output";
    const std::filesystem::path log = daemon.directory() / "log.txt";

    console_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        all.connect();
        all.define("vm");
    }

    bool prints(const example& e, const std::string& text) const
    {
        return support::eventually([&] { return e.has_printed(text); });
    }
};

BOOST_FIXTURE_TEST_SUITE(console_recipes, console_fixture)

BOOST_AUTO_TEST_CASE(boot_log_contains_every_byte)
{
    example e(BOOT_LOG, {"vm", log, daemon.uri()}, output);
    BOOST_TEST(support::eventually([&] { return content(log).size() >= greeting.size(); }));
    all.change("vm", virDomainDestroy);
    BOOST_TEST(e.end(0) == 0, e.printed());
    BOOST_TEST(content(log) == greeting);
    BOOST_TEST(e.printed() == "vm printed " + std::to_string(greeting.size()) + " bytes\n");
}

BOOST_AUTO_TEST_CASE(boot_log_of_a_guest_that_runs)
{
    all.change("vm", virDomainCreate);
    example e(BOOT_LOG, {"vm", log, daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed("domain is already running"), e.printed());
}

BOOST_AUTO_TEST_CASE(boot_log_without_a_file)
{
    example e(BOOT_LOG, {"vm", daemon.directory() / "none/log", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed("cannot write " + (daemon.directory() / "none/log").string()), e.printed());
    BOOST_TEST(all.now().at("vm") == "shut off");
}

BOOST_AUTO_TEST_CASE(boot_log_on_a_full_disk)
{
    example e(BOOT_LOG, {"vm", "/dev/full", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed("cannot write /dev/full"), e.printed());
}

BOOST_AUTO_TEST_CASE(expect_answers_a_prompt)
{
    all.change("vm", virDomainCreate);
    example e(EXPECT, {"vm", "\n", "the answer> more", "> ", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 0, e.printed());
    BOOST_TEST(e.has_printed("the answer> \n"), e.printed());
}

BOOST_AUTO_TEST_CASE(expect_waits_in_vain)
{
    all.change("vm", virDomainCreate);
    example e(EXPECT, {"vm", "\n", "the answer", "never", daemon.uri()}, output);
    BOOST_TEST(support::eventually([&] { return daemon.clients() == 3; })); // The last one is its stream's.
    all.change("vm", virDomainDestroy);
    BOOST_TEST(e.end(0) == 1);
}

BOOST_AUTO_TEST_CASE(tee_console_writes_to_both)
{
    all.change("vm", start_paused);
    example e(TEE_CONSOLE, {"vm", log, daemon.uri()}, output);
    BOOST_TEST(prints(e, "attached to vm"));
    all.change("vm", virDomainResume);
    BOOST_TEST(prints(e, greeting), e.printed());
    BOOST_TEST(support::eventually([&] { return content(log) == greeting; }));
    BOOST_TEST(e.end(SIGINT) == 0, e.printed());
    BOOST_TEST(all.now().at("vm") == "running");
}

BOOST_AUTO_TEST_CASE(tee_console_ends_with_the_guest)
{
    all.change("vm", start_paused);
    example e(TEE_CONSOLE, {"vm", log, daemon.uri()}, output);
    BOOST_TEST(prints(e, "attached to vm"));
    all.change("vm", virDomainResume);
    BOOST_TEST(prints(e, greeting), e.printed());
    all.change("vm", virDomainDestroy);
    BOOST_TEST(e.end(0) == 0, e.printed());
    BOOST_TEST(content(log) == greeting);
}

BOOST_AUTO_TEST_CASE(tee_console_on_a_full_disk)
{
    all.change("vm", start_paused);
    example e(TEE_CONSOLE, {"vm", "/dev/full", daemon.uri()}, output);
    BOOST_TEST(prints(e, "attached to vm"));
    all.change("vm", virDomainResume);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed("the output cannot be written"), e.printed());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
