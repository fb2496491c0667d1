// SPDX-License-Identifier: BSL-1.0
#include "support/sshd.hpp"

#include "support/command.hpp"
#include "support/daemon_process.hpp"
#include "support/eventually.hpp"
#include "support/loopback.hpp"
#include "support/mounts.hpp"
#include "support/temporary_directory.hpp"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace support {
namespace {

namespace fs = std::filesystem;

/// Returns the full path of a program, by which sshd has to be called; empty if the program is not installed.
fs::path path_of(const std::string& program)
{
    const char* searched = std::getenv("PATH");
    std::istringstream directories(std::string(searched ? searched : "") + ":/usr/sbin:/usr/local/sbin");
    for (std::string directory; std::getline(directories, directory, ':');) {
        const auto path = fs::path(directory) / program;
        if (path.is_absolute() && ::access(path.c_str(), X_OK) == 0)
            return path;
    }
    return {};
}

std::string first_line(const fs::path& file)
{
    std::string line;
    std::ifstream in(file);
    std::getline(in, line);
    return line;
}

} // namespace

std::string sshd::obstacle()
{
    for (const char* program : {"sshd", "ssh", "ssh-keygen"}) {
        if (path_of(program).empty())
            return std::string("there is no ") + program + " here";
    }
    const passwd* account = ::getpwuid(::geteuid());
    if (!account)
        return "the user has no account";
    const auto shell = fs::path(account->pw_shell).filename();
    if (shell == "nologin" || shell == "false")
        return "the user has no shell";
    if (::geteuid() == 0 && !can_have_own_mounts())
        return "root may not mount";
    return {};
}

sshd::sshd(const fs::path& runtime_directory)
    : port_(free_port()),
      runtime_directory_(runtime_directory),
      directory_(make_temporary_directory("/tmp/avirt-sshd-"))
{
    make_keys();
    make_client(client(), directory_ / "known_hosts");
    make_client(client_that_is_new(), "/dev/null");
    configure();
    guardian_ = ::fork();
    if (guardian_ == 0)
        run_daemon_process(
            directory_, [this] { prepare(); }, [this] { return run(); });
    if (!eventually([this] { return is_listened_on(port_); }))
        throw std::runtime_error("sshd does not start; see " + (directory_ / "log").string());
}

sshd::~sshd()
{
    stop();
}

void sshd::stop()
{
    if (guardian_ < 0)
        return;
    ::kill(guardian_, SIGTERM);
    ::waitpid(guardian_, nullptr, 0);
    guardian_ = -1;
}

std::string sshd::authority() const
{
    return std::string(::getpwuid(::geteuid())->pw_name) + "@127.0.0.1:" + std::to_string(port_);
}

void sshd::make_keys() const
{
    for (const auto& key : {directory_ / "host_key", this->key()})
        run_command({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key});
    fs::copy(directory_ / "user_key.pub", directory_ / "authorized_keys");
    std::ofstream(directory_ / "known_hosts")
        << "[127.0.0.1]:" << port_ << ' ' << first_line(directory_ / "host_key.pub") << '\n';
}

void sshd::make_client(const fs::path& program, const fs::path& known_hosts) const
{
    std::ofstream(program) << "#!/bin/sh\nexec ssh -F none -o UserKnownHostsFile=" << known_hosts.string()
                           << " -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
                              " -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \"$@\"\n";
    fs::permissions(program, fs::perms(0755));
}

void sshd::configure() const
{
    // HOME is replaced because a shell reads the files in it.
    std::ofstream(directory_ / "configuration")
        << "ListenAddress 127.0.0.1\nPort " << port_ << "\nPidFile none\nHostKey "
        << (directory_ / "host_key").string() << "\nAuthorizedKeysFile "
        << (directory_ / "authorized_keys").string()
        << "\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        << "PermitRootLogin yes\nMaxStartups 100\nSetEnv HOME=" << directory_.string()
        << " XDG_RUNTIME_DIR=" << runtime_directory_.string() << '\n';
}

void sshd::prepare() const
{
    if (::geteuid() != 0)
        return;
    have_own_mounts();
    mount_empty("/run");
    fs::create_directory("/run/sshd"); // sshd's unprivileged process needs an empty directory.
    fs::create_directory_symlink(runtime_directory_ / "libvirt", "/run/libvirt");
    // sshd refuses a user whose account is locked.
    std::ofstream(directory_ / "shadow") << "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n";
    mount_over(directory_ / "shadow", "/etc/shadow");
}

int sshd::run() const
{
    log_to(directory_ / "log");
    const auto program = path_of("sshd");
    ::execl(
        program.c_str(), program.c_str(), "-D", "-e", "-f", (directory_ / "configuration").c_str(), nullptr);
    return 127;
}

} // namespace support
