// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <sys/types.h>

namespace support {

/// A libvirtd of our own, which has nothing to do with the system's. It lives in a temporary directory, which
/// goes with it and with all its guests, however the test ends.
class libvirtd
{
public:
    enum class kind {
        session,               // a user's; root's rights are given up for it
        session_over_tcp,      // the same, with another way to it
        session_over_tls,      // the same, with certificates
        session_with_password, // for "fred", who knows "sesame"; over TCP, too
        system                 // root's, with an /etc, a /run and a /var that nobody else sees
    };

    /// Whether we may make what kind::system needs.
    static bool can_be_system();

    /// Whether it is the release that does not survive some of what a client or guest may do
    /// (docs/libvirt.md, "What the daemon of libvirt 11.3 does not survive").
    static bool is_11_3();

    /// @param parent of its directory; a tmpfs, where the disk must not be what is measured.
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

    /// Where the certificates are, of its authority, its own, and its clients'.
    std::filesystem::path certificates() const
    {
        return directory_ / "certificates";
    }

    /// Where it listens, if not on its Unix socket alone.
    int port() const noexcept
    {
        return port_;
    }

    /// How many clients it has taken on its Unix socket, and not yet let go.
    int clients() const;

    /// SIGSTOP: it takes nothing and says nothing, until it is thawed.
    void freeze();
    void thaw();
    /// SIGTERM: it says good-bye.
    void quit();
    /// SIGKILL.
    void kill();
    /// Ends by that signal, for come_back() to have another in the same place. Its guests go on.
    void leave(int signal);
    bool has_left() const;
    /// After that is_up() tells of the new one.
    void come_back();
    bool is_up();

    /// Whether it answers a new client within ten seconds: the daemon of libvirt 11.3 can deadlock.
    bool answers() const;

    /// A guest that boots from a boot sector, to be defined. What it prints and reads is on its console.
    std::string guest_xml(const std::string& name, const unsigned char* boot_sector) const;

    /// A storage pool "pool", to be defined, and the volumes that it is to have.
    std::string pool_xml() const;
    std::filesystem::path make_volume(const std::string& name, std::uint64_t size) const;

private:
    void signal(int number) const;

    std::filesystem::path configuration() const
    {
        return directory_ / "libvirtd.conf";
    }

    /// While it is there no daemon is started.
    std::filesystem::path away_file() const
    {
        return directory_ / "away";
    }

    /// Says that another is to be started.
    std::filesystem::path again_file() const
    {
        return directory_ / "again";
    }

    void run() const;
    void run_daemon() const;
    void configure(const std::filesystem::path& file) const;
    void certify() const;
    void admit_fred() const;
    void become_system() const;
    void give_to_daemon(const std::filesystem::path& path) const;

    const kind kind_;
    const int port_; // 0: none
    std::filesystem::path directory_;
    pid_t guardian_ = -1;
    pid_t pid_ = -1;
};

} // namespace support
