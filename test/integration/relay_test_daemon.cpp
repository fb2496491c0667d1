// SPDX-License-Identifier: BSL-1.0
#include "relay_test_daemon.hpp"

#include "../../examples/console_relay/guardian.hpp"
#include "relay_test_program.hpp"

#include <libvirt/virterror.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" const char avirt_demo_guest[512];
extern "C" const char avirt_flood_guest[512];

namespace relay_test {
namespace {

namespace fs = std::filesystem;

constexpr uid_t nobody = 65534;

[[noreturn]] void fail(const std::string& what)
{
    throw std::runtime_error(what + ": " + virGetLastErrorMessage());
}

/// As a user's daemon: root's would be the system's.
void run_daemon(const std::string& directory)
{
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::geteuid() == 0
        && (::setgroups(0, nullptr) || ::setresgid(nobody, nobody, nobody)
            || ::setresuid(nobody, nobody, nobody)))
        ::_exit(126);
    ::prctl(PR_SET_DUMPABLE, 1);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM); // The one above went with root's rights.
    for (const char* variable :
         {"TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"})
        ::unsetenv(variable);
    ::setenv("HOME", directory.c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
    fs::create_directories(directory + "/.config/libvirt");
    std::ofstream(directory + "/.config/libvirt/qemu.conf") << "stdio_handler = \"file\"\n";
    const int log = ::open((directory + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    const int status = run_guarded([&]() -> int {
        ::dup2(log, 1);
        ::dup2(log, 2);
        ::execlp("libvirtd", "libvirtd", "-p", (directory + "/pid").c_str(), nullptr);
        ::execl("/usr/sbin/libvirtd", "libvirtd", "-p", (directory + "/pid").c_str(), nullptr);
        ::_exit(127);
    });
    std::error_code ignored;
    fs::remove_all(directory, ignored); // Here, for the test may have been killed.
    ::_exit(status);
}

} // namespace

daemon& daemon::instance()
{
    static daemon one;
    return one;
}

daemon::daemon()
{
    directory_ = "/tmp/avirt-daemon-XXXXXX";
    if (!::mkdtemp(directory_.data()))
        throw std::runtime_error("no directory");
    if (::geteuid() == 0 && ::chown(directory_.c_str(), nobody, nobody))
        throw std::runtime_error("chown");
    const auto socket = directory_ + "/libvirt/libvirt-sock";
    uri_ = "qemu+unix:///session?socket=" + socket;

    pid_ = ::fork();
    if (pid_ == 0)
        run_daemon(directory_);
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    wait_until("libvirtd answers", [&] {
        return fs::exists(socket) && (connection_ = virConnectOpen(uri_.c_str())) != nullptr;
    });
    define("echo", avirt_demo_guest);
    define("flood", avirt_flood_guest);
}

void daemon::define(const std::string& name, const char* boot_sector)
{
    const auto image = directory_ + "/" + name;
    std::ofstream(image, std::ios::binary).write(boot_sector, 512);
    ::chmod(image.c_str(), 0666);
    const auto xml = "<domain type='qemu'><name>" + name
        + "</name><memory unit='MiB'>4</memory>"
          "<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>"
          "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='"
        + image
        + "'/><target dev='hda' bus='ide'/></disk>"
          "<serial type='pty'/><controller type='usb' model='none'/><memballoon model='none'/>"
          "</devices></domain>";
    guests_[name] = virDomainDefineXML(connection_, xml.c_str());
    if (!guests_[name])
        fail("the guest cannot be defined");
}

daemon::~daemon()
{
    for (const auto& [name, guest] : guests_) {
        virDomainDestroy(guest);
        virDomainFree(guest);
    }
    if (connection_)
        virConnectClose(connection_);
    if (pid_ > 0) {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
}

std::vector<std::string> daemon::on_guest(std::vector<std::string> more, const std::string& name)
{
    if (!is_running(name) && virDomainCreate(guests_.at(name)) < 0)
        fail("the guest cannot be started");
    more.insert(more.end(), {"--connect", uri_, "--domain", name});
    return more;
}

bool daemon::is_running(const std::string& name) const
{
    return virDomainIsActive(guests_.at(name)) == 1;
}

void daemon::destroy(const std::string& name)
{
    virDomainDestroy(guests_.at(name));
}

} // namespace relay_test
