// SPDX-License-Identifier: BSL-1.0
#include "support/libvirtd.hpp"

#include "support/certificates.hpp"
#include "support/command.hpp"
#include "support/daemon_process.hpp"
#include "support/eventually.hpp"
#include "support/loopback.hpp"
#include "support/mounts.hpp"
#include "support/temporary_directory.hpp"
#include "support/unix_socket.hpp"
#include "support/xdr.hpp"

#include <libvirt/libvirt.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
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

void check(bool ok, const std::string& what)
{
    if (!ok)
        throw std::system_error(errno, std::generic_category(), what);
}

} // namespace

bool libvirtd::can_be_system()
{
    return can_have_own_mounts();
}

bool libvirtd::is_11_3()
{
    unsigned long version = 0;
    virGetVersion(&version, nullptr, nullptr);
    return version / 1000 == 11003;
}

libvirtd::libvirtd(kind k, const fs::path& parent)
    : kind_(k),
      port_(k == kind::session || k == kind::system ? 0 : free_port()),
      directory_(make_temporary_directory(parent / "avirt-daemon-"))
{
    give_to_daemon(directory_);
    fs::create_directory(directory_ / "volumes");
    give_to_daemon(directory_ / "volumes");
    if (kind_ == kind::session_over_tls)
        certify();
    if (kind_ == kind::session_with_password)
        admit_fred();
    guardian_ = ::fork();
    if (guardian_ == 0)
        run_daemon_process(
            directory_, [this] { prepare(); }, [this] { return run(); });
    if (!eventually([this] { return is_up(); }))
        throw std::runtime_error("libvirtd does not start; see " + (directory_ / "log").string());
}

/// Returns whether the daemon is ready, and is not the one that left.
bool libvirtd::is_up()
{
    pid_t pid = -1;
    const bool is_ready = takes_connections(socket()) && (!port_ || is_listened_on(port_))
        && bool(std::ifstream(directory_ / "pid") >> pid) && pid != pid_;
    if (is_ready)
        pid_ = pid;
    return is_ready;
}

bool libvirtd::answers() const
{
    // Asks how to authenticate, as every client does first.
    constexpr std::uint32_t length = 28, program = 0x20008086, version = 1, auth_list = 66, call = 0,
                            serial = 0, ok = 0;
    std::string question;
    for (const auto number : {length, program, version, auth_list, call, serial, ok})
        append(question, number);
    const int fd = connect_to(socket());
    pollfd answer{fd, POLLIN, 0};
    const bool result = fd >= 0 && send_all(fd, question) && ::poll(&answer, 1, 10'000) == 1;
    ::close(fd);
    return result;
}

void libvirtd::give_to_daemon(const fs::path& path) const
{
    if (::geteuid() == 0 && kind_ != kind::system)
        check(::chown(path.c_str(), nobody, nobody) == 0, "chown " + path.string());
}

void libvirtd::certify() const
{
    fs::create_directory(certificates());
    give_to_daemon(certificates());
    make_certificates(certificates());
    for (const auto& file : fs::directory_iterator(certificates()))
        give_to_daemon(file);
}

void libvirtd::admit_fred() const
{
    const auto directory = directory_ / "sasl";
    const auto passwords = directory / "passwords";
    fs::create_directory(directory);
    give_to_daemon(directory);
    // Over TCP the mechanism has to encrypt as well; over the Unix socket the better mechanism is used.
    std::ofstream(directory / "libvirt.conf")
        << "mech_list: scram-sha-256 digest-md5\nsasldb_path: " << passwords.string() << '\n';
    std::string program = "saslpasswd2";
    if (fs::exists("/usr/sbin/saslpasswd2"))
        program = "/usr/sbin/saslpasswd2";
    run_command({program, "-c", "-p", "-f", passwords, "-a", "libvirt", "fred"}, "sesame");
    give_to_daemon(passwords);
}

/// Everything that a system libvirtd writes and shares with others is in /etc, /run and /var.
void libvirtd::become_system() const
{
    have_own_mounts();
    const auto etc = directory_ / "etc";
    fs::create_directories(etc / "libvirt");
    for (const char* needed : {"alternatives", "group", "ld.so.cache", "nsswitch.conf", "passwd"}) {
        std::error_code absent;
        fs::copy(
            fs::path("/etc") / needed, etc / needed,
            fs::copy_options::recursive | fs::copy_options::copy_symlinks, absent);
    }
    // The QEMU driver does not start without this user.
    std::ofstream(etc / "passwd", std::ios::app) << "libvirt-qemu:x:64055:64055::/nonexistent:/bin/false\n";
    std::ofstream(etc / "group", std::ios::app) << "libvirt-qemu:x:64055:\n";
    std::ofstream(etc / "libvirt/qemu.conf")
        << "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\n"
        << "cgroup_controllers = []\nnamespaces = []\nremember_owner = 0\n";
    mount_over(etc, "/etc");
    for (const char* directory : {"/run", "/var"})
        mount_empty(directory);
    for (const char* directory : {"/var/cache", "/var/lib", "/var/lock", "/var/log", "/var/tmp"})
        fs::create_directory(directory);
    fs::create_directory_symlink("/run", "/var/run");
}

void libvirtd::configure(const fs::path& file) const
{
    std::ofstream c(file);
    if (port_)
        c << "listen_addr = \"127.0.0.1\"\n";
    switch (kind_) {
    case kind::session:
        break;
    case kind::session_over_tcp:
        c << "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\ntcp_port = \"" << port_ << "\"\n";
        break;
    case kind::session_over_tls:
        c << "listen_tls = 1\nlisten_tcp = 0\nauth_tls = \"none\"\ntls_port = \"" << port_ << "\"\n"
          << "ca_file = " << certificates() / "cacert.pem" << '\n'
          << "cert_file = " << certificates() / "servercert.pem" << '\n'
          << "key_file = " << certificates() / "serverkey.pem" << '\n';
        break;
    case kind::session_with_password:
        c << "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"sasl\"\nauth_unix_rw = \"sasl\"\ntcp_port = \""
          << port_ << "\"\n";
        break;
    case kind::system:
        c << "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_dir = " << socket().parent_path()
          << '\n';
        break;
    }
}

void libvirtd::prepare() const
{
    if (kind_ == kind::system)
        become_system();
    else if (::geteuid() == 0)
        check(
            ::setgroups(0, nullptr) == 0 && ::setresgid(nobody, nobody, nobody) == 0
                && ::setresuid(nobody, nobody, nobody) == 0,
            "giving up root's rights");
    ::prctl(PR_SET_DUMPABLE, 1);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM); // Giving up root's rights has reset it.
    for (const char* variable :
         {"TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"})
        ::unsetenv(variable);
    ::setenv("HOME", directory_.c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
    ::setenv("SASL_CONF_PATH", (directory_ / "sasl").c_str(), 1);
    fs::create_directories(directory_ / ".config/libvirt");
    std::ofstream(directory_ / ".config/libvirt/qemu.conf") << "stdio_handler = \"file\"\n";
    fs::create_directory(socket().parent_path());
    configure(configuration());
}

int libvirtd::run() const
{
    int ended = 0;
    do {
        while (fs::exists(away_file()))
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        const pid_t daemon = ::fork();
        if (daemon == 0)
            run_daemon();
        ::waitpid(daemon, &ended, 0);
    } while (fs::remove(again_file()));
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
}

void libvirtd::run_daemon() const
{
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    log_to(directory_ / "log");
    for (const char* program : {"libvirtd", "/usr/sbin/libvirtd"})
        ::execlp(
            program, "libvirtd", "-f", configuration().c_str(), "-p", (directory_ / "pid").c_str(),
            port_ ? "--listen" : nullptr, nullptr);
    ::_exit(127);
}

libvirtd::~libvirtd()
{
    thaw();
    ::kill(guardian_, SIGTERM);
    ::waitpid(guardian_, nullptr, 0);
}

std::string libvirtd::uri() const
{
    switch (kind_) {
    case kind::session_over_tcp:
        return "qemu+tcp://127.0.0.1:" + std::to_string(port_) + "/session";
    case kind::session_over_tls:
        return "qemu+tls://127.0.0.1:" + std::to_string(port_)
            + "/session?pkipath=" + certificates().string();
    case kind::system:
        return "qemu+unix:///system?socket=" + socket().string();
    default:
        return "qemu+unix:///session?socket=" + socket().string();
    }
}

void libvirtd::signal(int number) const
{
    if (pid_ > 0)
        ::kill(pid_, number);
}

int libvirtd::clients() const
{
    constexpr const char* connected = "03";
    std::ifstream sockets("/proc/net/unix");
    int count = 0;
    for (std::string line; std::getline(sockets, line);) {
        std::istringstream words(line);
        std::string word[8]; // Num RefCount Protocol Flags Type St Inode Path
        for (auto& w : word)
            words >> w;
        count += word[5] == connected && word[7] == socket() ? 1 : 0;
    }
    return count;
}

void libvirtd::freeze()
{
    signal(SIGSTOP);
}

void libvirtd::thaw()
{
    signal(SIGCONT);
}

void libvirtd::quit()
{
    signal(SIGTERM);
}

void libvirtd::kill()
{
    signal(SIGKILL);
    pid_ = -1;
}

void libvirtd::leave(int number)
{
    std::ofstream(away_file()).close();
    std::ofstream(again_file()).close();
    signal(number);
}

bool libvirtd::has_left() const
{
    return ::kill(pid_, 0) != 0;
}

void libvirtd::come_back()
{
    fs::remove(away_file());
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
