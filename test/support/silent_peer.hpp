// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace support {

/// A peer to open a connection to, which never answers.
class silent_peer
{
public:
    enum class kind {
        accepts,              // a Unix socket
        has_no_room,          // a Unix socket that accepts no client, and whose queue is full
        has_no_room_over_tcp, // the same over TCP
        shakes_no_hand,       // a TLS server that does not answer a client's greeting
        command               // a command like ssh, whose other side does not answer
    };

    explicit silent_peer(kind k);
    ~silent_peer();
    silent_peer(const silent_peer&) = delete;
    silent_peer& operator=(const silent_peer&) = delete;

    std::string uri() const;

    /// Whether a client waits for an answer, or for room in the queue.
    bool is_waited_for();

    /// Closes everything that it has open.
    void leave() noexcept;

    /// Removes its files, so that no new client finds it: for a peer that ends with the process, without its
    /// destructor.
    void remove_files() const noexcept;

private:
    void listen_on_tcp_socket();
    void keep(int fd);
    void fill_up();
    void write_command() const;
    bool has_been_written_to();

    const kind kind_;
    const std::filesystem::path directory_;
    int port_ = 0;
    std::vector<int> fds_; // the first one listens
    int client_ = -1;
};

std::ostream& operator<<(std::ostream& out, silent_peer::kind k);

} // namespace support
