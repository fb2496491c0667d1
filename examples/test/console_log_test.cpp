// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"
#include "example.hpp"

#include <support/eventually.hpp>
#include <support/libvirtd.hpp>
#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

extern "C" const unsigned char avirt_flood_guest[512];

// Runs console_log with a libvirtd that is killed and restarted.

namespace {

namespace fs = std::filesystem;
using arguments = std::vector<std::string>;

const std::string greeting = "avirt demo guest: type, and it comes back\r\n";

int start_paused(virDomainPtr domain)
{
    return virDomainCreateWithFlags(domain, VIR_DOMAIN_START_PAUSED);
}

std::size_t count(const std::string& text, const std::string& part)
{
    std::size_t result = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + part.size()))
        ++result;
    return result;
}

bool contains(const std::string& text, const std::string& part)
{
    return count(text, part) != 0;
}

struct log_fixture
{
    support::libvirtd daemon;
    domains all{daemon};
    const fs::path output = daemon.directory() / "output";
    const support::temporary_directory directory{"/tmp/avirt-log-"};
    const fs::path& logs = directory.path;
    int streams = 0; // Consoles that are open.

    log_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        all.connect();
    }

    arguments with(const arguments& more) const
    {
        arguments result{"--connect", daemon.uri(), "--directory", logs};
        result.insert(result.end(), more.begin(), more.end());
        return result;
    }

    std::string log(const std::string& name) const
    {
        return content(logs / name);
    }

    bool logs_contain(const std::string& name, const std::string& text, std::size_t times = 1) const
    {
        return support::eventually([&] { return count(log(name), text) >= times; });
    }

    bool says(const example& e, const std::string& text, std::size_t times = 1) const
    {
        return support::eventually([&] { return count(e.printed(), text) >= times; });
    }

    /// Boots a guest so that its console is open before it prints anything.
    void boot(const std::string& name)
    {
        all.change(name, start_paused);
        ++streams;
        const int connections = 2 + streams; // The test's, the program's, and one for each console.
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.clients() == connections; }));
        all.change(name, virDomainResume);
    }

    void destroy(const std::string& name)
    {
        all.change(name, virDomainDestroy);
        --streams;
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.clients() == 2 + streams; }));
    }

    void restart_daemon()
    {
        all.disconnect();
        daemon.leave(SIGKILL);
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.has_left(); }));
        daemon.come_back();
        BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.is_up(); }));
        all.connect();
    }
};

BOOST_FIXTURE_TEST_SUITE(console_log, log_fixture)

BOOST_AUTO_TEST_CASE(every_byte_of_a_guest_that_is_restarted)
{
    all.define("vm");
    example e(CONSOLE_LOG, with({}), output);
    BOOST_TEST(says(e, "connected to " + daemon.uri() + ".\n"));
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", greeting));
    destroy("vm");
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", greeting, 2));
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(log("vm.log") == greeting + greeting);
    BOOST_TEST(count(e.printed(), "\n") == 1, e.printed());

    example next(CONSOLE_LOG, with({}), output);
    destroy("vm");
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", greeting, 3));
    BOOST_TEST(next.end(SIGINT) == 0);
    BOOST_TEST(log("vm.log") == greeting + greeting + greeting);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_dies_and_comes_back)
{
    all.define("vm");
    example e(CONSOLE_LOG, with({"--format", "timestamps"}), output);
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", "Z | " + greeting));

    restart_daemon();
    BOOST_TEST(says(e, "connected to ", 2), e.printed());
    BOOST_TEST(logs_contain("vm.log", "Z * console: attached\n", 2), log("vm.log"));
    all.suspend_when_found("vm");
    destroy("vm");
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", "Z | " + greeting, 2));
    BOOST_TEST(e.end(SIGTERM) == 0);

    const auto text = log("vm.log");
    BOOST_TEST(count(text, "Z * console: host away (") == 1, text);
    BOOST_TEST(count(text, "Z * console: off") == 1, text);
    BOOST_TEST(contains(text, "Z * console: closed\n"), text);
    BOOST_TEST(count(e.printed(), "the connection to " + daemon.uri() + " is lost: ") == 1, e.printed());
    BOOST_TEST(count(e.printed(), "\n") == 3, e.printed());
}

BOOST_AUTO_TEST_CASE(guests_that_come_and_go)
{
    example e(CONSOLE_LOG, with({"--format", "timestamps"}), output);
    BOOST_TEST(says(e, "connected to "));
    for (std::size_t times = 1; times <= 2; ++times) {
        all.define(".vm 100%");
        boot(".vm 100%");
        BOOST_TEST(logs_contain("%2Evm 100%25.log", greeting, times));
        all.change(".vm 100%", virDomainUndefine);
        destroy(".vm 100%");
        BOOST_TEST(logs_contain("%2Evm 100%25.log", "Z * console: closed\n", times));
    }
    BOOST_TEST(e.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(only_the_guests_that_are_named)
{
    for (const char* name : {"vm", "other"})
        all.define(name);
    example e(CONSOLE_LOG, with({"--format", "timestamps", "vm", "none"}), output);
    BOOST_TEST(says(e, "there is no guest 'none' on " + daemon.uri()));
    all.change("other", virDomainCreate);
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", greeting));
    all.define("none");
    boot("none");
    BOOST_TEST(logs_contain("none.log", greeting));
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(!fs::exists(logs / "other.log"));
}

BOOST_AUTO_TEST_CASE(asciicasts)
{
    all.define("vm");
    std::string text;
    const auto run = [&] {
        example e(CONSOLE_LOG, with({"--format", "asciicast"}), output);
        BOOST_TEST(says(e, "connected to "));
        boot("vm");
        BOOST_TEST(support::eventually([&] { return log("vm.log") != text; }));
        BOOST_TEST(logs_contain("vm.log", R"(\n"])"), log("vm.log"));
        BOOST_TEST(e.end(SIGTERM) == 0);
        --streams;
        all.change("vm", virDomainDestroy);
    };
    run();
    text = log("vm.log");
    BOOST_TEST(text.starts_with(R"({"version": 2, "width": 80, "height": 24, "timestamp": )"), text);
    BOOST_TEST(contains(text, R"(, "m", "console: attached"])"), text);
    BOOST_TEST(contains(text, R"(, "o", "a)"), text);
    run();
    BOOST_TEST(log("vm.log.1") == text);
    BOOST_TEST(contains(log("vm.log"), R"(, "m", "console: attached"])"), log("vm.log"));
}

BOOST_AUTO_TEST_CASE(rotation_loses_nothing)
{
    all.define_xml(daemon.guest_xml("vm", avirt_flood_guest));
    example e(CONSOLE_LOG, with({"--max-size", "10K", "--keep", "3"}), output);
    BOOST_TEST(says(e, "connected to "));
    boot("vm");
    BOOST_TEST(support::eventually([&] { return fs::exists(logs / "vm.log.3"); }));
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(!fs::exists(logs / "vm.log.4"));
    std::string text;
    for (const char* name : {"vm.log.3", "vm.log.2", "vm.log.1"}) {
        BOOST_TEST(log(name).size() == 10'240u);
        text += log(name);
    }
    text += log("vm.log");
    BOOST_TEST(log("vm.log").size() <= 10'240u);
    auto at = text.find("flood ") + 6;
    for (auto number = std::stol(text.substr(at)); at + 64 <= text.size(); ++number, at += 64)
        BOOST_TEST_REQUIRE(std::stol(text.substr(at, 8)) == number);
    BOOST_TEST(!contains(e.printed(), "lost"), e.printed());
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written)
{
    for (const char* name : {"vm", "other"})
        all.define(name);
    fs::create_symlink("/dev/full", logs / "vm.log");
    example e(CONSOLE_LOG, with({}), output);
    BOOST_TEST(says(e, "connected to "));
    for (std::size_t times = 1; times <= 2; ++times) {
        boot("vm");
        boot("other"); // What it prints comes later.
        BOOST_TEST(logs_contain("other.log", greeting, times));
        BOOST_TEST(
            says(e, "vm: '" + (logs / "vm.log").string() + "' cannot be written: No space left on device."));
        destroy("vm");
        destroy("other");
    }
    fs::remove(logs / "vm.log");
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", greeting));
    BOOST_TEST(says(e, " is written again; it lacks 86 bytes of output.\n"), e.printed());
    BOOST_TEST(count(e.printed(), "\n") == 3, e.printed());
    BOOST_TEST(e.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(lost_output_is_marked_in_the_log)
{
    all.define_xml(daemon.guest_xml("vm", avirt_flood_guest));
    example e(CONSOLE_LOG, with({"--format", "timestamps"}), output);
    boot("vm");
    BOOST_TEST(logs_contain("vm.log", "Z | flood "));
    fs::create_symlink("/dev/full", logs / "full");
    fs::rename(logs / "full", logs / "vm.log");
    BOOST_TEST(says(e, "cannot be written: "), e.printed());
    fs::remove(logs / "vm.log");
    BOOST_TEST(says(e, " is written again; "), e.printed());
    BOOST_TEST(logs_contain("vm.log", "Z | flood "));
    BOOST_TEST(e.end(SIGTERM) == 0);

    const auto text = log("vm.log");
    const auto said = e.printed().substr(e.printed().find(" lacks ") + 7);
    const auto marked = text.substr(text.find("Z * ") + 4);
    BOOST_TEST(text.find("Z * ") == text.find('Z'), text.substr(0, 200));
    BOOST_TEST(marked.starts_with("could not write " + said.substr(0, said.find('.')) + '\n'), marked);
}

BOOST_AUTO_TEST_CASE(output_that_is_lost_at_the_end)
{
    all.define("vm");
    fs::create_symlink("/dev/full", logs / "vm.log");
    example e(CONSOLE_LOG, with({}), output);
    BOOST_TEST(says(e, "connected to "));
    boot("vm");
    BOOST_TEST(says(e, "cannot be written: "), e.printed());
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(contains(e.printed(), "vm: '" + (logs / "vm.log").string() + "' lacks "), e.printed());
}

BOOST_AUTO_TEST_CASE(all_consoles)
{
    auto xml = daemon.guest_xml("vm", avirt_demo_guest);
    const std::string serial = "<serial type='pty'/>";
    all.define_xml(xml.insert(xml.find(serial), serial));
    example e(CONSOLE_LOG, with({"--format", "timestamps", "--all-consoles"}), output);
    BOOST_TEST(says(e, "connected to "));
    all.change("vm", start_paused);
    BOOST_TEST(logs_contain("vm.log", "Z * console: paused\n"));
    BOOST_TEST(logs_contain("vm@serial1.log", "Z * console: paused\n"));
    all.change("vm", virDomainResume);
    BOOST_TEST(logs_contain("vm.log", greeting));
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(!contains(log("vm@serial1.log"), greeting));
    BOOST_TEST(std::distance(fs::directory_iterator(logs), fs::directory_iterator()) == 2);
}

BOOST_AUTO_TEST_CASE(a_host_that_is_away_at_first)
{
    all.disconnect();
    daemon.leave(SIGKILL);
    BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.has_left(); }));
    example e(CONSOLE_LOG, with({}), output);
    BOOST_TEST(says(e, "no connection to " + daemon.uri() + " yet: "));
    daemon.come_back();
    BOOST_TEST(says(e, "connected to "));
    BOOST_TEST(e.end(SIGTERM) == 0);
    BOOST_TEST(count(e.printed(), "\n") == 2, e.printed());
}

BOOST_AUTO_TEST_CASE(a_directory_belongs_to_one_program)
{
    example e(CONSOLE_LOG, with({}), output);
    BOOST_TEST(says(e, "connected to "));
    example other(CONSOLE_LOG, with({}), daemon.directory() / "other");
    BOOST_TEST(other.end(0) == 1);
    BOOST_TEST(other.has_printed("another console_log writes to the directory '" + logs.string()));
    BOOST_TEST(e.end(SIGTERM) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

struct usage_fixture
{
    const support::temporary_directory directory{"/tmp/avirt-log-"};

    void fails(int status, const std::string& text, const arguments& given) const
    {
        example e(CONSOLE_LOG, given, directory.path / "output");
        BOOST_TEST(e.end(0) == status);
        BOOST_TEST(e.has_printed(text), e.printed());
        BOOST_TEST(count(e.printed(), "\n") == 1, e.printed());
    }
};

BOOST_FIXTURE_TEST_SUITE(console_log_usage, usage_fixture)

BOOST_AUTO_TEST_CASE(wrong_options)
{
    for (const char* size : {"", "x", "-1", "1T", "1KB", "99999999999G", "18446744073709551616"})
        fails(2, std::string("'") + size + "' is not a size", {"--max-size", size, "vm"});
    for (const char* number : {"x", "-1", "1001", "1.5"})
        fails(2, "--keep", {"--keep", number});
    fails(2, "'text' is not a format: raw, timestamps or asciicast", {"--format", "text"});
    fails(2, "a guest needs a name", {"vm", ""});
    fails(2, "--help shows the usage", {"--nothing"});
}

BOOST_AUTO_TEST_CASE(directories_without_files)
{
    fails(1, "/none' (--directory): No such file or directory", {"--directory", directory.path / "none"});
    fails(1, "(--directory): Not a directory", {"--directory", directory.path / "output"});
    if (::geteuid() != 0) // Root may write everywhere.
        fails(1, "(--directory): Permission denied", {"--directory", "/"});
}

BOOST_AUTO_TEST_CASE(an_uri_that_makes_no_sense)
{
    for (const char* uri : {"no URI", "qemu+nothing:///system"})
        fails(
            1, std::string("no connection to ") + uri + " (--connect): ",
            {"--directory", directory.path, "--connect", uri});
}

BOOST_AUTO_TEST_CASE(help)
{
    example e(CONSOLE_LOG, {"--help"}, directory.path / "output");
    BOOST_TEST(e.end(0) == 0);
    for (const char* text : {"Usage: console_log ", "--directory", "asciinema", "Exit status:"})
        BOOST_TEST(e.has_printed(text), text);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
