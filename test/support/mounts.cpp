// SPDX-License-Identifier: BSL-1.0
#include "support/mounts.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace support {
namespace {

bool unshare_mounts()
{
    return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

void check(bool ok, const std::string& what)
{
    if (!ok)
        throw std::system_error(errno, std::generic_category(), what);
}

} // namespace

void have_own_mounts()
{
    check(unshare_mounts(), "a mount namespace");
}

bool can_have_own_mounts()
{
    const pid_t pid = ::fork();
    if (pid == 0)
        ::_exit(::geteuid() == 0 && unshare_mounts() ? 0 : 1);
    int status = 1;
    return ::waitpid(pid, &status, 0) == pid && status == 0;
}

void mount_empty(const std::filesystem::path& there)
{
    check(::mount("tmpfs", there.c_str(), "tmpfs", 0, "mode=755") == 0, there);
}

void mount_small(const std::filesystem::path& there, std::uint64_t size)
{
    const auto options = "mode=777,size=" + std::to_string(size);
    check(::mount("tmpfs", there.c_str(), "tmpfs", 0, options.c_str()) == 0, there);
}

void unmount(const std::filesystem::path& there) noexcept
{
    ::umount2(there.c_str(), MNT_DETACH);
}

void mount_over(const std::filesystem::path& what, const std::filesystem::path& there)
{
    check(::mount(what.c_str(), there.c_str(), nullptr, MS_BIND, nullptr) == 0, there);
}

} // namespace support
