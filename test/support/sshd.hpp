// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

namespace support {

/// An sshd of our own on 127.0.0.1, with keys, a configuration and clients of its own: nothing of the
/// system's or the user's is used or changed. It lives in a temporary directory, which goes with it and with
/// all that it runs, however the test ends.
class sshd
{
public:
    /// What keeps it from running here; empty: nothing.
    static std::string obstacle();

    /// @param runtime_directory The XDG_RUNTIME_DIR of what it runs. libvirt's programs do not look there as
    /// root: for them what is there is in /run, too.
    explicit sshd(const std::filesystem::path& runtime_directory);
    ~sshd();
    sshd(const sshd&) = delete;
    sshd& operator=(const sshd&) = delete;

    /// It ends, and with it what it runs for its clients.
    void stop();

    /// USER@HOST:PORT
    std::string authority() const;

    /// A program to be called as ssh would be, for one that knows the host's key, and one that does not.
    std::filesystem::path client() const
    {
        return directory_ / "client";
    }

    std::filesystem::path client_that_is_new() const
    {
        return directory_ / "new_client";
    }

    /// A key that it takes.
    std::filesystem::path key() const
    {
        return directory_ / "user_key";
    }

private:
    void make_keys() const;
    void make_client(const std::filesystem::path& program, const std::filesystem::path& known_hosts) const;
    void configure() const;
    void become_system() const;
    void run() const;

    const int port_;
    const std::filesystem::path runtime_directory_;
    std::filesystem::path directory_;
    pid_t guardian_ = -1;
};

} // namespace support
