// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"

#include <avirt/detail/failure.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace avirt::detail {

/// Hears of a connection's socket. Called on the thread that dispatches, with no lock of libvirt's or of the
/// registry's held.
class socket_observer
{
public:
    /// libvirt is about to send something of its own, and reads while it does.
    virtual void on_sending() {}
    /// libvirt has served the socket: there may be something new in its queues.
    virtual void on_served() {}
    /// What event_registry::await_writable() waited for, or the socket cannot be written any more.
    virtual void on_writable() {}
    /// The peer is gone; what it sent before can still be read, once the socket is served again.
    virtual void on_hung_up() {}
    /// libvirt has given the connection up.
    virtual void on_lost() = 0;

protected:
    ~socket_observer() = default;
};

/// How many bytes a socket holds that were not read, here and by the peer.
struct socket_buffers
{
    int unread = 0;
    int unsent = 0;
};

/// What the event loop and a connection know of each other: the one fact that lets avirt send without
/// blocking, stop reading, and interrupt what is stuck (docs/libvirt.md, "A connection's socket"). All but
/// the URI is the registry's, under its lock.
struct connection_socket
{
    enum class end { none, peer, silence, interrupted };

    std::string uri;
    /// The connection's socket while libvirt watches it; -1 otherwise. Written under the registry's lock.
    std::atomic<int> fd{-1};
    /// libvirt has watched a socket: the driver is not in this process.
    std::atomic<bool> is_remote{false};
    /// Why libvirt gave, or will give, the connection up.
    std::atomic<end> ended_by{end::none};

    /// A process that libvirt has started to get to the daemon, as a pidfd: SSH, for instance.
    unique_fd command;
    int watch = 0;
    /// Keepalive intervals without a sign of life before the connection is interrupted; 0: for ever.
    unsigned max_silence = 0;
    /// The same, so far, and what the socket held when the latest ended.
    unsigned silence = 0;
    socket_buffers held{};
    /// The socket carries libvirt's messages as they are: no encryption, no framing.
    bool is_plain = false;
    std::vector<std::weak_ptr<socket_observer>> observers;

    unsigned uses = 0;      // See connection_use.
    unsigned works = 0;     // See daemon_wait.
    unsigned closings = 0;  // See closing_scope.
    bool is_shared = false; // The application may have it, too: what is under way there is not ours to end.
    int close_timer = 0;    // the timer that ends it; 0: none
};

/// While it lives, what this thread registers is reported under the connection's URI: what an application
/// registers in a call on the connection, above all.
class owner_scope
{
public:
    explicit owner_scope(std::shared_ptr<connection_socket> socket) noexcept;
    ~owner_scope();
    owner_scope(const owner_scope&) = delete;
    owner_scope& operator=(const owner_scope&) = delete;

    /// The link of the innermost scope of this thread, or null.
    static const std::shared_ptr<connection_socket>& current() noexcept;

private:
    std::shared_ptr<connection_socket> outer_;
};

/// While it lives, what this thread registers is the connection's socket or keepalive timer, and reported
/// under its URI. libvirt registers a connection's socket on the thread that is inside virConnectOpen
/// (docs/libvirt.md, "Who uses the loop").
class opening_scope
{
public:
    explicit opening_scope(std::shared_ptr<connection_socket> socket) noexcept;
    ~opening_scope();
    opening_scope(const opening_scope&) = delete;
    opening_scope& operator=(const opening_scope&) = delete;

    /// The link of the innermost scope of this thread, or null.
    static const std::shared_ptr<connection_socket>& current() noexcept;

private:
    owner_scope naming_;
    std::shared_ptr<connection_socket> outer_;
};

/// While it lives, the socket whose watch this thread updates is the one that is looked for: libvirt disables
/// a connection's watch on the thread that calls (docs/libvirt.md, "Who uses the loop").
class socket_search
{
public:
    /// @param link becomes the socket's, where that has none yet; null: a new one does.
    explicit socket_search(std::shared_ptr<connection_socket> socket) noexcept;
    virtual ~socket_search();
    socket_search(const socket_search&) = delete;
    socket_search& operator=(const socket_search&) = delete;

    /// The search of this thread, or null.
    static socket_search* current() noexcept;

    std::shared_ptr<connection_socket> socket;
    std::shared_ptr<connection_socket> found{}; // the socket's

private:
    friend class event_registry;

    /// It is found. Called with libvirt's locks held.
    virtual void on_found() noexcept {}

    socket_search* const outer_;
};

/// Sees the watch that libvirt adds on this thread, while it lives.
class added_watch
{
public:
    added_watch() noexcept;
    added_watch(const added_watch&) = delete;
    added_watch& operator=(const added_watch&) = delete;

    /// The latest; 0: there was none.
    int watch() const noexcept;

    /// A watch was added on this thread.
    static void note(int watch) noexcept;
};

/// What libvirt has reported on the connection, by what the loop knows of its socket. @p link may be null.
failure explain_by_socket(failure f, const std::shared_ptr<connection_socket>& socket);

/// What an operation fails with on a connection that libvirt has given, or will give, up.
failure lost_failure(const connection_socket& socket);

/// The process that this thread has just started behind a connection's socket; none where that leads
/// elsewhere.
unique_fd command_behind(int fd) noexcept;

/// Frees the threads that are stuck in libvirt on the connection.
void shut_down(const connection_socket& socket) noexcept;

/// Whether the connection's socket is a Unix socket.
bool is_local(const connection_socket& socket) noexcept;

/// What the connection's socket holds.
socket_buffers measure_buffers(const connection_socket& socket) noexcept;

/// Tells the daemon that we live, past libvirt, which would read as well: with an answer to a PING that was
/// not asked for. Only on a Unix socket that has room, while no thread sends on it.
void send_pong(const connection_socket& socket) noexcept;

/// How many of @p wanted bytes the connection's socket takes now without blocking the sender; 0: none.
std::size_t room_to_send(const connection_socket& socket, std::size_t wanted) noexcept;

/// Has the socket of a connection that is avirt's own take large sends.
void enlarge_send_buffer(const connection_socket& socket) noexcept;

} // namespace avirt::detail
