// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

namespace support {

/// An sshd on 127.0.0.1 with its own keys, configuration and clients: it uses and changes nothing of the
/// system's or the user's. It lives in a temporary directory, which is removed with it and with all that it
/// runs, however the test ends.
class sshd
{
public:
    /// Returns why it cannot run here; empty if it can.
    static std::string obstacle();

    /// @param runtime_directory The XDG_RUNTIME_DIR of the programs that it runs. libvirt's programs do not
    /// look there as root: for them its content is in /run as well.
    explicit sshd(const std::filesystem::path& runtime_directory);
    ~sshd();
    sshd(const sshd&) = delete;
    sshd& operator=(const sshd&) = delete;

    /// Ends it, and with it the programs that it runs for its clients.
    void stop();

    /// USER@HOST:PORT
    std::string authority() const;

    /// A program to be called instead of ssh, which knows the host's key; client_that_is_new() does not know
    /// it.
    std::filesystem::path client() const
    {
        return directory_ / "client";
    }

    std::filesystem::path client_that_is_new() const
    {
        return directory_ / "new_client";
    }

    /// A key that it accepts.
    std::filesystem::path key() const
    {
        return directory_ / "user_key";
    }

private:
    void make_keys() const;
    void make_client(const std::filesystem::path& program, const std::filesystem::path& known_hosts) const;
    void configure() const;
    void prepare() const;
    int run() const;

    const int port_;
    const std::filesystem::path runtime_directory_;
    const std::filesystem::path directory_;
    pid_t guardian_ = -1;
};

} // namespace support
