// SPDX-License-Identifier: BSL-1.0
#include "demo.hpp"

#include "guardian.hpp"
#include "terminal.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <system_error>
#include <tuple>

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

extern "C" const char avirt_demo_guest[512];

namespace {

/// As root, libvirt would run QEMU as a user that not every system has.
void drop_root()
{
    if (::geteuid() != 0)
        return;
    const passwd* nobody = ::getpwnam("nobody");
    const uid_t uid = nobody ? nobody->pw_uid : 65534;
    const gid_t gid = nobody ? nobody->pw_gid : 65534;
    if (::setgroups(0, nullptr) || ::setresgid(gid, gid, gid) || ::setresuid(uid, uid, uid))
        throw std::system_error(errno, std::generic_category(), "Cannot drop root privileges");
    ::prctl(PR_SET_DUMPABLE, 1); // Otherwise this process's /proc/self belongs to root.
}

/// The driver's warnings would appear in the middle of the conversation. Errors are reported by the calls
/// that fail.
void keep_log_off_terminal()
{
    for (const char* variable : {"LIBVIRT_DEBUG", "LIBVIRT_LOG_FILTERS", "LIBVIRT_LOG_OUTPUTS"}) {
        if (std::getenv(variable))
            return; // The user wants to see it.
    }
    ::setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 1);
}

class temporary_directory
{
public:
    temporary_directory()
    {
        auto name = (fs::temp_directory_path() / "avirt-XXXXXX").string();
        if (!::mkdtemp(name.data()))
            throw std::system_error(errno, std::generic_category(), "Cannot create " + name);
        path = name;
    }

    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;

    ~temporary_directory()
    {
        std::error_code failure;
        fs::remove_all(path, failure);
        if (failure)
            std::cerr << "console_relay: Cannot remove " << path << ": " << failure.message() << '\n';
    }

    fs::path path;
};

std::string description(const fs::path& image)
{
    return "<domain type='qemu'>"
           "<name>"
        + std::string(demo_guest::name)
        + "</name>"
          "<memory unit='MiB'>4</memory>"
          "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
          "<features><acpi/></features>" // So that the guest can switch itself off.
          "<devices>"
          "<disk type='file' device='disk'>"
          "<driver name='qemu' type='raw'/><source file='"
        + image.string()
        + "'/><target dev='hda' bus='ide'/>"
          "</disk>"
          "<serial type='pty'><target port='0'/></serial>"
          "<controller type='usb' model='none'/><memballoon model='none'/>"
          "</devices>"
          "</domain>";
}

} // namespace

demo_guest::demo_guest(fs::path directory) : directory_(std::move(directory)), image_(directory_ / "disk.img")
{
    std::ofstream(image_, std::ios::binary).write(avirt_demo_guest, sizeof avirt_demo_guest);
    fs::create_directories(directory_ / "etc");
    // By default QEMU's log goes through a system daemon.
    std::ofstream(directory_ / "etc/qemu.conf") << "stdio_handler = \"file\"\n";
}

std::string demo_guest::uri() const
{
    return "qemu:///embed?root=" + directory_.string();
}

asio::awaitable<void> demo_guest::define(avirt::connection& connection)
{
    // A transient domain goes away with its QEMU: closing its console could then deadlock in libvirt.
    const auto define = avirt::calling(virDomainDefineXML, description(image_));
    domain_ = co_await connection.async_call(define, avirt::with_details(asio::use_awaitable));
}

asio::awaitable<void> demo_guest::destroy(avirt::connection& connection)
{
    if (!domain_)
        co_return;
    co_await connection.async_call(
        [this](virConnectPtr) {
            virDomainDestroy(domain_.get()); // The guest may have switched itself off.
            return virDomainUndefine(domain_.get());
        },
        asio::as_tuple(asio::use_awaitable));
    domain_ = {};
}

int with_demo_guest(const std::function<int(demo_guest&)>& use)
{
    keep_log_off_terminal();
    drop_root();
    const temporary_directory directory;
    for (const char* variable : {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"})
        ::unsetenv(variable);
    ::setenv("HOME", directory.path.c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", directory.path.c_str(), 1);
    return run_guarded([&] {
        demo_guest guest(directory.path);
        return use(guest);
    });
}

asio::awaitable<ending> converse(relay& console)
{
    auto& session = console.session();
    avirt::console_view view{session, {.from = avirt::console_view_options::everything}};
    const auto out = standard_output(session.get_executor());
    std::string heard;
    const auto expect = [&](std::string_view text) -> asio::awaitable<void> {
        avirt::error_code ec = avirt::error::console_state_changed;
        std::size_t n = 0;
        while (ec == avirt::error::console_state_changed)
            std::tie(ec, n) = co_await asio::async_read_until(
                view, asio::dynamic_buffer(heard), text, asio::as_tuple(asio::use_awaitable));
        if (ec)
            throw boost::system::system_error(ec);
        co_await out->write({heard.data(), n});
        heard.erase(0, n);
    };
    const auto conversation = [&]() -> asio::awaitable<void> {
        co_await expect("comes back\r\n");
        co_await console.type("Hello, guest.\r");
        co_await expect("Hello, guest.\r\n");
        co_await console.type("\4"); // Ctrl-D
        co_await expect("bye\r\n");
    };
    asio::steady_timer patience(session.get_executor(), 30s);
    bool has_answered = false;
    try {
        const auto first = co_await (conversation() || patience.async_wait(asio::use_awaitable));
        has_answered = first.index() == 0;
    }
    catch (const boost::system::system_error&) {
    }
    if (!has_answered)
        throw ending(failed, "The demo guest did not answer as expected.");
    co_return ending(succeeded, "");
}
