// SPDX-License-Identifier: BSL-1.0
#include "support/libvirtd.hpp"

#include "../../examples/console_relay/guardian.hpp"
#include "support/eventually.hpp"
#include "support/unix_socket.hpp"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <stdexcept>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace support {
namespace {

namespace fs = std::filesystem;

constexpr uid_t nobody = 65534;

bool takes_connections(const fs::path& path)
{
    const int fd = connect_to(path);
    return fd >= 0 && ::close(fd) == 0;
}

void give_to_daemon(const fs::path& path)
{
    if (::geteuid() == 0 && ::chown(path.c_str(), nobody, nobody) != 0)
        throw std::runtime_error("chown " + path.string());
}

/// A port that nobody has now.
int free_port()
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* a = reinterpret_cast<sockaddr*>(&address);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = ::bind(fd, a, size) == 0 && ::getsockname(fd, a, &size) == 0;
    ::close(fd);
    if (!ok)
        throw std::runtime_error("no free port");
    return ::ntohs(address.sin_port);
}

[[noreturn]] void run(const fs::path& directory, int tcp_port)
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
    fs::create_directories(directory / ".config/libvirt");
    std::ofstream(directory / ".config/libvirt/qemu.conf") << "stdio_handler = \"file\"\n";
    std::ofstream(directory / ".config/libvirt/libvirtd.conf")
        << "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nlisten_addr = \"127.0.0.1\"\n"
        << "tcp_port = \"" << tcp_port << "\"\n";
    const char* const listen = tcp_port ? "--listen" : nullptr;
    const int log = ::open((directory / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    const auto pid_file = directory / "pid";
    const int status = run_guarded([&]() -> int {
        ::dup2(log, 1);
        ::dup2(log, 2);
        ::execlp("libvirtd", "libvirtd", "-p", pid_file.c_str(), listen, nullptr);
        ::execl("/usr/sbin/libvirtd", "libvirtd", "-p", pid_file.c_str(), listen, nullptr);
        ::_exit(127);
    });
    std::error_code ignored;
    fs::remove_all(directory, ignored); // Here, for the test may have been killed.
    ::_exit(status);
}

} // namespace

libvirtd::libvirtd(const fs::path& parent, transport t) : tcp_port_(t == transport::tcp ? free_port() : 0)
{
    auto name = (parent / "avirt-daemon-XXXXXX").string();
    if (!::mkdtemp(name.data()))
        throw std::runtime_error("mkdtemp");
    directory_ = name;
    give_to_daemon(directory_);
    fs::create_directory(directory_ / "volumes");
    give_to_daemon(directory_ / "volumes");
    guardian_ = ::fork();
    if (guardian_ == 0)
        run(directory_, tcp_port_);
    const bool is_up = eventually(
        [this] { return takes_connections(socket()) && bool(std::ifstream(directory_ / "pid") >> pid_); });
    if (!is_up)
        throw std::runtime_error("libvirtd does not start; see " + (directory_ / "log").string());
}

libvirtd::~libvirtd()
{
    thaw();
    ::kill(guardian_, SIGTERM);
    ::waitpid(guardian_, nullptr, 0);
}

std::string libvirtd::uri() const
{
    return tcp_port_ ? "qemu+tcp://127.0.0.1:" + std::to_string(tcp_port_) + "/session"
                     : "qemu+unix:///session?socket=" + socket().string();
}

void libvirtd::signal(int number) const
{
    if (pid_ > 0)
        ::kill(pid_, number);
}

void libvirtd::freeze()
{
    signal(SIGSTOP);
}

void libvirtd::thaw()
{
    signal(SIGCONT);
}

void libvirtd::kill()
{
    signal(SIGKILL);
    pid_ = -1;
}

std::string libvirtd::guest_xml(const std::string& name, const unsigned char* boot_sector) const
{
    const auto image = directory_ / name;
    std::ofstream(image, std::ios::binary).write(reinterpret_cast<const char*>(boot_sector), 512);
    ::chmod(image.c_str(), 0666);
    return "<domain type='qemu'><name>" + name
        + "</name><memory unit='MiB'>4</memory>"
          "<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>"
          "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='"
        + image.string()
        + "'/><target dev='hda' bus='ide'/></disk>"
          "<serial type='pty'/><controller type='usb' model='none'/><memballoon model='none'/>"
          "</devices></domain>";
}

std::string libvirtd::pool_xml() const
{
    return "<pool type='dir'><name>pool</name><target><path>" + (directory_ / "volumes").string()
        + "</path></target></pool>";
}

fs::path libvirtd::make_volume(const std::string& name, std::uint64_t size) const
{
    const auto path = directory_ / "volumes" / name;
    {
        std::ofstream file(path, std::ios::binary);
        std::mt19937_64 random(size);
        std::vector<std::uint64_t> block(32 * 1024);
        for (std::uint64_t written = 0; written < size;) {
            for (auto& word : block)
                word = random();
            const auto n = std::min<std::uint64_t>(block.size() * sizeof block[0], size - written);
            file.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(n));
            written += n;
        }
    }
    give_to_daemon(path);
    return path;
}

} // namespace support
