// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace support {

/// Somebody to open a connection to, who never says anything.
class silent_peer
{
public:
    enum class kind {
        accepts,              // a Unix socket
        has_no_room,          // a Unix socket whose clients are not accepted, and who are too many
        has_no_room_over_tcp, // the same
        shakes_no_hand,       // a TLS server that says nothing to a client's greeting
        command               // as ssh is, with nobody on the other side
    };

    explicit silent_peer(kind k);
    ~silent_peer();
    silent_peer(const silent_peer&) = delete;
    silent_peer& operator=(const silent_peer&) = delete;

    std::string uri() const;

    /// Whether somebody waits for it: for its answer, or for room.
    bool is_waited_for();

    /// It closes what it has open.
    void leave() noexcept;

    /// Nobody new can find it: where it is to end with the process, without its destructor.
    void remove_files() const noexcept;

private:
    void listen_on_tcp_socket();
    void keep(int fd);
    void fill_up();
    void write_command() const;
    bool has_been_written_to();

    const kind kind_;
    std::filesystem::path directory_;
    int port_ = 0;
    std::vector<int> fds_; // the first one listens
    int client_ = -1;
};

std::ostream& operator<<(std::ostream& out, silent_peer::kind k);

} // namespace support
