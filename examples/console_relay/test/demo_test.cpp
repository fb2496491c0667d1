// SPDX-License-Identifier: BSL-1.0
#include "relay_program.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace relay_test {
namespace {

/// libvirt removes the lock of a console's pty when the console is closed. A killed process leaves the lock.
void remove_lock_of(pid_t process)
{
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator("/var/lock", gone)) {
        pid_t owner = 0;
        if (entry.path().filename().string().starts_with("LCK..") && std::ifstream(entry.path()) >> owner
            && owner == process)
            std::filesystem::remove(entry.path(), gone);
    }
}

/// Gives programs that the test starts a host name that cannot be resolved.
class machine_without_name
{
public:
    machine_without_name()
        : own_(::open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC)),
          changed_(::unshare(CLONE_NEWUTS) == 0 && ::sethostname(name.data(), name.size()) == 0)
    {
    }

    ~machine_without_name()
    {
        if (changed_)
            ::setns(own_.get(), CLONE_NEWUTS);
    }

    explicit operator bool() const
    {
        return changed_;
    }

private:
    static constexpr std::string_view name = "avirt-nowhere"; // A name with a dot would not be looked up.
    file own_;
    bool changed_;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(relay_demo, private_directory)

BOOST_AUTO_TEST_CASE(conversation)
{
    relay_program relay({"--demo"}, {"/dev/null"});
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(
        relay.rest_of_output() == "avirt demo guest: type, and it comes back\r\nHello, guest.\r\nbye\r\n");
    BOOST_TEST(relay.rest_of_errors() == "Booting the demo guest...\n");
}

// libvirt logs that failure, by default to the terminal.
BOOST_AUTO_TEST_CASE(on_a_machine_that_cannot_resolve_its_name)
{
    machine_without_name here;
    if (!here) {
        BOOST_TEST_MESSAGE("skipped: only root can give the machine another name");
        return;
    }
    relay_program relay({"--demo"}, {"/dev/null"});
    BOOST_TEST(relay.status() == 0);
    BOOST_TEST(relay.rest_of_errors() == "Booting the demo guest...\n");
}

BOOST_AUTO_TEST_CASE(with_libvirts_log)
{
    ::setenv("LIBVIRT_LOG_OUTPUTS", "1:stderr", 1);
    relay_program relay({"--demo"}, {"/dev/null"});
    ::unsetenv("LIBVIRT_LOG_OUTPUTS");
    BOOST_TEST(relay.status() == 0);
    relay.errors(" : libvirt version: ");
}

BOOST_AUTO_TEST_CASE(interrupted_while_it_boots)
{
    relay_program relay({"--demo"}, relay_program::terminal());
    relay.errors("Booting");
    relay.send_signal(SIGINT);
    BOOST_TEST(relay.status() == 128 + SIGINT);
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_CASE(switched_off_from_a_terminal)
{
    relay_program relay({"--demo"}, relay_program::terminal());
    relay.output("comes back\r\n");
    relay.type("bye?\r\x04");
    relay.output("bye?\r\nbye\r\n");
    BOOST_TEST(relay.status() == 3);
    BOOST_TEST(relay.is_as_before());
    relay.errors("The guest was shut down");
}

BOOST_AUTO_TEST_CASE(signal_with_a_client)
{
    relay_program relay({"--demo", "--listen", "tcp:127.0.0.1:0"}, {"/dev/null"});
    relay.errors("listening on ");
    auto address = relay.errors("\n");
    address.pop_back();
    client one(address);
    one.output("comes back\r\n");
    one.type("hello");
    one.output("hello");
    relay.send_signal(SIGTERM);
    BOOST_TEST(one.rest() == "\r\n[console_relay: Ended by a signal: Terminated.]\r\n");
    BOOST_TEST(relay.status() == 128 + SIGTERM);
}

BOOST_AUTO_TEST_CASE(killed)
{
    relay_program relay({"--demo"}, relay_program::terminal());
    relay.output("comes back\r\n");
    wait_until("raw mode", [&] { return relay.is_raw(); });
    // The relay, its child that runs the guest, and QEMU.
    const auto processes = users();
    BOOST_TEST(processes.size() == 3u);
    for (const auto pid : processes) {
        std::error_code gone; // QEMU ends with the child.
        const auto program = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", gone);
        if (pid != relay.pid() && program == CONSOLE_RELAY) {
            ::kill(pid, SIGKILL);
            remove_lock_of(pid);
        }
    }
    BOOST_TEST(relay.status() == 128 + SIGKILL);
    BOOST_TEST(relay.is_as_before());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace relay_test
