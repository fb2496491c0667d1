// SPDX-License-Identifier: BSL-1.0
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <fstream>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace relay_test {
namespace {

bool contains(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

/// Runs the relay to its end, and expects a single sentence that tells what went wrong.
void fails(int status, const std::string& sentence, const relay_program::arguments& args)
{
    BOOST_TEST_CONTEXT("looking for: " << sentence)
    {
        relay_program relay(args, {"/dev/null"});
        BOOST_TEST(relay.status() == status);
        BOOST_TEST_INFO(relay.rest_of_errors());
        BOOST_TEST(contains(relay.rest_of_errors(), sentence));
        BOOST_TEST(std::ranges::count(relay.rest_of_errors(), '\n') == 1);
        BOOST_TEST(relay.rest_of_output() == "");
    }
}

std::string succeeds(const relay_program::arguments& args)
{
    relay_program relay(args, {"/dev/null"});
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.rest_of_errors() == "");
    return relay.rest_of_output();
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_options, private_directory)

BOOST_AUTO_TEST_CASE(help_and_version)
{
    const auto help = succeeds({"--help"});
    for (const char* option :
         {"--connect", "--domain", "--device", "--listen", "--view", "--escape", "--force", "--safe",
          "--wait", "--list", "--demo"}) {
        BOOST_TEST_INFO(option);
        BOOST_TEST(contains(help, option));
    }
    BOOST_TEST(contains(help, "Exit status"));
    BOOST_TEST(contains(succeeds({"--version"}), "console_relay "));
}

BOOST_AUTO_TEST_CASE(wrong_options)
{
    fails(2, "--nonsense", {"--nonsense"});
    fails(2, "positional", {"vm1", "vm2"});
    fails(2, "--list shows which there are", {});
    fails(2, "'tcp:1' is neither", {"--domain", "x", "--listen", "tcp:1"});
    fails(2, "'tcp:127.0.0.1:99999' has no port", {"--domain", "x", "--listen", "tcp:127.0.0.1:99999"});
    fails(2, "'tcp:1' is neither", {"--domain", "x", "--view", "tcp:1"});
    fails(2, "'unix:' is neither", {"--domain", "x", "--listen", "unix:"});
    fails(2, "'ab' is not a key", {"--domain", "x", "--escape", "ab"});
    fails(2, "'^!' is not a key", {"--domain", "x", "--escape", "^!"});
    fails(2, "--demo has a guest of its own", {"--demo", "--domain", "x"});
}

BOOST_AUTO_TEST_CASE(list_of_domains_and_consoles)
{
    const auto table = succeeds({"--connect", "test:///default", "--list"});
    BOOST_TEST_INFO(table);
    BOOST_TEST(contains(table, "test                     running   none"));

    const auto node = path() + "/node.xml";
    std::ofstream(node) << R"(<node><domain type='test'>
        <name>two</name><memory>8192</memory><os><type>hvm</type></os>
        <devices>
            <serial type='pty'><target port='0'/><alias name='ua-first'/></serial>
            <serial type='pty'><target port='1'/><alias name='ua-second'/></serial>
        </devices></domain></node>)";
    const auto devices = succeeds({"--connect", "test://" + node, "--list"});
    BOOST_TEST_INFO(devices);
    BOOST_TEST(contains(devices, "ua-first, ua-second"));
    ::unlink(node.c_str());
}

BOOST_AUTO_TEST_CASE(no_such_hypervisor)
{
    fails(
        1, "No connection to qemu+unix:///session?socket=/nowhere: ",
        {"--connect", "qemu+unix:///session?socket=/nowhere", "--domain", "x"});
}

BOOST_AUTO_TEST_CASE(no_such_domain)
{
    const auto sentence = "There is no domain 'nobody'; --list shows which there are.";
    fails(1, sentence, {"--connect", "test:///default", "--domain", "nobody"});
    fails(1, sentence, {"--connect", "test:///default", "nobody"});
}

BOOST_AUTO_TEST_CASE(hypervisor_without_consoles)
{
    fails(1, "This hypervisor cannot", {"--connect", "test:///default", "--domain", "test"});
}

BOOST_AUTO_TEST_CASE(address_in_use)
{
    const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::listen(tcp, 1);
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(tcp, reinterpret_cast<sockaddr*>(&bound), &size);
    const auto address = "tcp:127.0.0.1:" + std::to_string(ntohs(bound.sin_port));
    fails(
        1, address + " is in use already",
        {"--connect", "test:///default", "--domain", "x", "--listen", address});
    ::close(tcp);
}

BOOST_AUTO_TEST_CASE(socket_files)
{
    const auto socket = path() + "/socket";
    const auto fails_with = [&](const std::string& sentence) {
        fails(
            1, sentence,
            {"--connect", "test:///default", "--domain", "nobody", "--listen", "unix:" + socket});
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(fd, 1);

    fails_with("unix:" + socket + " is in use already");
    ::close(fd);
    fails_with("There is no domain"); // The file is stale, so that the relay gets this far.
    BOOST_TEST_INFO("the relay's socket is still there");
    BOOST_TEST(::access(socket.c_str(), F_OK) != 0);

    std::ofstream(socket) << "not a socket";
    fails_with("unix:" + socket + " is in use already");
    BOOST_TEST(::unlink(socket.c_str()) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
