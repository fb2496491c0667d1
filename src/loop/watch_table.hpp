// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/epoll_set.hpp"
#include "loop/id_table.hpp"
#include "loop/unpollable_files.hpp"

#include <libvirt/libvirt.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace avirt::detail {

/// libvirt's watches and the epoll set that observes their files. Guarded by the lock of event_tables.
///
/// There is one entry per fd, with a list of its watches. An entry whose watches are all disabled stays in
/// the set without level-triggered bits: it costs nothing, the death of its file is still seen (once), and
/// ENOENT from EPOLL_CTL_MOD tells that the number no longer means the file that was added.
class watch_table
{
public:
    /// Whether the events of a watch reach libvirt. A paused watch leaves the epoll set only if its file is
    /// ready twice in the meantime: a short pause then costs no system call.
    enum class flow { open, pause_requested, pause_seen, paused };

    /// When the kernel is told that a watch was disabled: at once, or only if its file becomes ready before
    /// the watch is enabled again.
    enum class disabling { at_once, lazy };

    struct watch
    {
        int id = 0;
        int fd = -1;
        int events = 0;
        virEventHandleCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
        std::shared_ptr<connection_socket> socket{}; // the connection's, if the watch is on a connection
        std::shared_ptr<connection_socket> owner{};  // the connection under whose URI it is reported
        std::uint32_t next = id_table<watch>::none;  // watch of the same fd
        bool orphaned = false;                       // its fd was closed and means another file now
        flow reading = flow::open;
        bool awaits_writable = false;     // on behalf of the socket's observers
        std::uint32_t reserved_calls = 0; // reserved in the deferred queue for its removal
        bool is_dropped_in_child = false; // a forked child hears nothing of it
    };

    /// What a watch has to be told. Outlives the watch: see find().
    struct ready
    {
        std::uint32_t slot;
        int id;
        int events;
        bool writable; // for the socket's observers
        bool hung_up;  // for the socket's observers, if libvirt does not hear of it
    };

    static constexpr std::uint32_t none = id_table<watch>::none;

    /// Creates the epoll set, with the wake fds in it; throws system_error.
    void open(std::span<const int> wake_fds);
    void close() noexcept;

    int epoll_fd() const noexcept
    {
        return epoll_.fd();
    }

    std::size_t size() const noexcept
    {
        return watches_.size();
    }

    /// Returns the id, or -1.
    int add(watch&& w);
    void update(int id, int events, disabling when) noexcept;
    /// Returns the removed watch; its id is 0 if there was none.
    watch remove(int id) noexcept;

    /// Returns the watch, or null.
    watch* find(int id) noexcept;
    /// Returns the watch that a ready record was made for, or null if it was removed or orphaned since.
    watch* find(const ready& r) noexcept;

    // For the watch of a connection's socket.

    /// Keeps all events from libvirt until resume().
    void pause(int id) noexcept;
    void resume(int id) noexcept;
    /// Reports once, to the socket's observers, that the socket can be written.
    void await_writable(int id) noexcept;

    /// Appends what an event of the set means to the watches of its fd.
    void collect(const epoll_event& event, std::vector<ready>& out);
    /// Appends the enabled watches on files that epoll refuses.
    void collect_always_ready(std::vector<ready>& out);
    /// Whether collect_always_ready() would find a watch.
    bool has_always_ready() noexcept;

    /// Whether an event has come from a stale registration: a file whose fd was closed before its watch was
    /// removed may live on in the set through a duplicate, where no call can reach it any more. Call
    /// rebuild() then.
    bool needs_rebuild() const noexcept
    {
        return has_seen_stale_;
    }

    /// Creates a new set with all that is watched. No thread may be waiting on the old one.
    void rebuild(std::span<const int> wake_fds);

    /// In a forked child: leaves the set, which is also the parent's, alone. The sockets of the parent's
    /// connections are replaced by one whose peer is gone.
    void disown() noexcept;
    /// Creates a set of the child's own.
    void rebuild_after_fork(std::span<const int> wake_fds);

private:
    struct entry
    {
        std::uint32_t generation = 0;
        std::uint32_t first = none;
        std::uint32_t mask = 0;
        bool in_set = false;
    };

    entry& entry_of(int fd);
    static int wanted_events(const watch& w) noexcept;
    std::uint32_t wanted_mask(const entry& e) noexcept;
    watch* find_watch_of_socket(int id) noexcept;
    bool is_same_file(int fd, const entry& e) const noexcept;
    int enter(int fd, entry& e) noexcept;
    void apply(const watch& w) noexcept;
    void apply(int fd, entry& e) noexcept;
    void orphan(int fd, entry& e) noexcept;
    void leave(int fd, entry& e) noexcept;
    bool append(entry& e, std::uint32_t epoll_events, std::vector<ready>& out);

    epoll_set epoll_;
    id_table<watch> watches_;
    std::vector<entry> entries_; // by fd
    unpollable_files always_ready_;
    bool may_be_stale_ = false; // the set may hold a stale registration
    bool has_seen_stale_ = false;
};

} // namespace avirt::detail
