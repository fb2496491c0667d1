// SPDX-License-Identifier: BSL-1.0
#include "support/embedded_driver.hpp"

#include "support/temporary_directory.hpp"

#include <libvirt/virterror.h>

#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace support {
namespace {

constexpr uid_t nobody = 65534;

void check(int result, const char* what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
}

void check_libvirt(int result)
{
    if (result < 0)
        throw std::runtime_error(virGetLastErrorMessage());
}

void give_up_root()
{
    if (::geteuid() != 0)
        return;
    check(::setgroups(0, nullptr), "setgroups");
    check(::setresgid(nobody, nobody, nobody), "setresgid");
    check(::setresuid(nobody, nobody, nobody), "setresuid");
    check(::prctl(PR_SET_DUMPABLE, 1), "prctl"); // LeakSanitizer inspects this process through /proc.
}

embedded_driver* current = nullptr;

pid_t pid_of(const std::string& guest)
{
    pid_t pid = 0;
    std::ifstream(embedded_driver::instance().directory() / "run/qemu" / (guest + ".pid")) >> pid;
    if (pid <= 0)
        throw std::runtime_error("QEMU's pid is not known");
    return pid;
}

} // namespace

embedded_driver::embedded_driver()
{
    give_up_root();
    directory_ = make_temporary_directory(std::filesystem::temp_directory_path() / "avirt-test-");
    for (const char* part : {"etc", "home", "xdg"})
        std::filesystem::create_directory(directory_ / part);
    check(::chmod((directory_ / "xdg").c_str(), 0700), "chmod");
    std::ofstream(directory_ / "etc/qemu.conf") << "stdio_handler = \"file\"\n"
                                                   "security_driver = \"none\"\n"
                                                   "security_default_confined = 0\n";
    ::setenv("HOME", (directory_ / "home").c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", (directory_ / "xdg").c_str(), 1);
    for (const char* variable : {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"})
        ::unsetenv(variable);
    current = this;
}

embedded_driver::~embedded_driver()
{
    current = nullptr;
    std::filesystem::remove_all(directory_);
}

embedded_driver& embedded_driver::instance()
{
    return *current;
}

std::string embedded_driver::uri() const
{
    return "qemu:///embed?root=" + directory_.string();
}

embedded_guest::embedded_guest(
    virConnectPtr connection, const std::string& name, std::span<const unsigned char> boot_sector)
    : domain_(nullptr, &virDomainFree),
      image_(embedded_driver::instance().directory() / (name + ".img"))
{
    std::ofstream(image_, std::ios::binary)
        .write(
            reinterpret_cast<const char*>(boot_sector.data()),
            static_cast<std::streamsize>(boot_sector.size()));
    const auto xml = "<domain type='qemu'><name>" + name
        + "</name><memory unit='KiB'>4096</memory><vcpu>1</vcpu>"
          "<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features><devices>"
          "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='"
        + image_.string()
        + "'/><target dev='hda' bus='ide'/></disk>"
          "<serial type='pty'><target port='0'/><alias name='ua-console'/></serial>"
          "<serial type='null'><target port='1'/><alias name='ua-nowhere'/></serial>"
          "<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>";
    domain_.reset(virDomainDefineXML(connection, xml.c_str()));
    check_libvirt(domain_ ? 0 : -1);
    // libvirt waits until the QEMU daemon is reaped, and not every init does that quickly, so this process
    // does it. It does not for the daemons of libvirt's capability probe, which runs when the domain is
    // defined.
    check(::prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl");
    const int created = virDomainCreateWithFlags(domain_.get(), VIR_DOMAIN_START_PAUSED);
    check(::prctl(PR_SET_CHILD_SUBREAPER, 0), "prctl");
    check_libvirt(created);
    reaper_ = std::thread([pid = pid_of(name)] { ::waitpid(pid, nullptr, 0); });
}

embedded_guest::~embedded_guest()
{
    if (virDomainIsActive(domain_.get()) == 1)
        virDomainDestroy(domain_.get());
    virDomainUndefine(domain_.get());
    reaper_.join();
}

void embedded_guest::resume()
{
    check_libvirt(virDomainResume(domain_.get()));
}

void embedded_guest::suspend()
{
    check_libvirt(virDomainSuspend(domain_.get()));
}

void embedded_guest::destroy()
{
    check_libvirt(virDomainDestroy(domain_.get()));
}

} // namespace support
