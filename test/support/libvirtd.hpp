// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <sys/types.h>

namespace support {

/// A libvirtd that has nothing to do with the system's. It lives in a temporary directory, which is removed
/// with it and with all its guests, however the test ends.
class libvirtd
{
public:
    enum class kind {
        session,               // a user's daemon; it gives up root's rights
        session_over_tcp,      // the same, which listens on TCP as well
        session_over_tls,      // the same, which listens on TLS as well, with certificates
        session_with_password, // requires the user "fred" and the password "sesame"; over TCP as well
        system                 // root's daemon, with its own private /etc, /run and /var
    };

    /// Whether this process may create what kind::system needs.
    static bool can_be_system();

    /// Whether libvirt is the release whose daemon does not survive some actions of a client or guest
    /// (docs/libvirt.md, "What the daemon of libvirt 11.3 does not survive").
    static bool is_11_3();

    /// @param parent of its directory; a tmpfs if the disk must not affect what is measured.
    explicit libvirtd(kind k, const std::filesystem::path& parent = "/tmp");
    libvirtd() : libvirtd(kind::session) {}
    ~libvirtd();
    libvirtd(const libvirtd&) = delete;
    libvirtd& operator=(const libvirtd&) = delete;

    std::string uri() const;

    const std::filesystem::path& directory() const noexcept
    {
        return directory_;
    }

    std::filesystem::path socket() const
    {
        return directory_ / "libvirt/libvirt-sock";
    }

    /// The directory of the certificates: the authority's, the daemon's and its clients'.
    std::filesystem::path certificates() const
    {
        return directory_ / "certificates";
    }

    /// The TCP port on which it listens; 0 if it listens on its Unix socket alone.
    int port() const noexcept
    {
        return port_;
    }

    /// The number of clients that it has accepted on its Unix socket and not closed yet.
    int clients() const;

    /// SIGSTOP: it reads and sends nothing until it is thawed.
    void freeze();
    void thaw();
    /// SIGTERM: it ends in an orderly way.
    void quit();
    /// SIGKILL.
    void kill();
    /// Ends the daemon with that signal; come_back() then starts another one in the same place. Its guests go
    /// on.
    void leave(int signal);
    bool has_left() const;
    /// Starts the next daemon. is_up() then refers to the new one.
    void come_back();
    bool is_up();

    /// Whether it answers a new client within ten seconds: the daemon of libvirt 11.3 can deadlock.
    bool answers() const;

    /// Returns the XML of a guest that boots from a boot sector, and that prints to and reads from its
    /// console.
    std::string guest_xml(const std::string& name, const unsigned char* boot_sector) const;

    /// Returns the XML of a storage pool "pool".
    std::string pool_xml() const;
    /// Makes a volume of random data for that pool.
    std::filesystem::path make_volume(const std::string& name, std::uint64_t size) const;

private:
    void signal(int number) const;

    std::filesystem::path configuration() const
    {
        return directory_ / "libvirtd.conf";
    }

    /// While this file exists, no daemon is started.
    std::filesystem::path away_file() const
    {
        return directory_ / "away";
    }

    /// This file says that another daemon is to be started.
    std::filesystem::path again_file() const
    {
        return directory_ / "again";
    }

    void prepare() const;
    int run() const;
    void run_daemon() const;
    void configure(const std::filesystem::path& file) const;
    void certify() const;
    void admit_fred() const;
    void become_system() const;
    void give_to_daemon(const std::filesystem::path& path) const;

    const kind kind_;
    const int port_; // 0: none
    const std::filesystem::path directory_;
    pid_t guardian_ = -1;
    pid_t pid_ = -1;
};

} // namespace support
