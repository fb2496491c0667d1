// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/unique_fd.hpp"
#include "loop/connection_socket.hpp"
#include "loop/id_table.hpp"

#include <libvirt/libvirt.h>
#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace avirt::detail {

/// libvirt's watches and the epoll set that observes their files. Not locked: event_registry does that.
///
/// One entry per fd, the watches hang off it. An entry whose watches are all disabled stays in the set
/// without level-triggered bits: it costs nothing, the death of its file is still seen (once), and
/// EPOLL_CTL_MOD tells by ENOENT whether the number still means the file that was added.
class watch_table
{
public:
    /// Whether libvirt hears of a watch's events. A watch that is being closed stays in the set as it was:
    /// only where its file is ready twice meanwhile does it cost the system calls of being taken out.
    enum class flow { open, pause_requested, pause_seen, paused };

    struct watch
    {
        int id = 0;
        int fd = -1;
        int events = 0;
        virEventHandleCallback callback = nullptr;
        void* opaque = nullptr;
        virFreeCallback free = nullptr;
        std::shared_ptr<connection_socket> socket{};
        std::shared_ptr<connection_socket> owner{}; // under whose URI it is reported
        std::uint32_t next = id_table<watch>::none; // of the same fd
        bool orphaned = false;                      // its fd was closed and means another file now
        flow reading = flow::open;
        bool awaits_writable = false; // for its link
        std::uint32_t room = 0;       // that was made for its removal
        bool stays_in_parent = false; // A forked child hears nothing of it.
    };

    /// A watch, and what is to be reported to it. Survives the watch: see find().
    struct ready
    {
        std::uint32_t slot;
        int id;
        int events;
        bool writable; // for its link
        bool hung_up;  // for its link, where libvirt does not hear of it
    };

    static constexpr std::uint32_t none = id_table<watch>::none;

    /// Makes the epoll set, with the wake fds in it; throws system_error.
    void open(std::span<const int> wake_fds);
    void close() noexcept;

    int epoll_fd() const noexcept
    {
        return epoll_.get();
    }

    std::size_t size() const noexcept
    {
        return watches_.size();
    }

    /// Returns the id, or -1.
    int add(watch&& w);
    /// @param is_brief: what is disabled will soon be enabled again. The kernel is told only where an event
    /// comes in between.
    void update(int id, int events, bool is_brief) noexcept;
    /// The removed watch; its id is 0 where there was none.
    watch remove(int id) noexcept;

    /// The watch, or null.
    watch* find(int id) noexcept;

    /// Has libvirt hear of nothing, or of everything again.
    void pause(int id) noexcept;
    void resume(int id) noexcept;
    void await_writable(int id) noexcept;

    /// The watch that a ready record was made for, or null where it is gone or orphaned since.
    watch* find(const ready& r) noexcept;

    /// Appends what an event of the set means to the watches of its fd.
    void collect(const epoll_event& event, std::vector<ready>& out);
    /// Appends the enabled watches on files that epoll refuses: they are always ready.
    void collect_always_ready(std::vector<ready>& out);

    /// Whether collect_always_ready() would find a watch.
    bool has_always_ready() noexcept;

    /// A file whose fd was closed before its watch was removed may live on in the set through a duplicate,
    /// where no call can reach it any more. True when such a file was seen to be ready: call rebuild().
    bool needs_rebuild() const noexcept
    {
        return ghost_seen_;
    }

    /// A new set with all that is watched; nobody may wait on the old one.
    void rebuild(std::span<const int> wake_fds);

    /// In a forked child: the set is its parent's too, and is left alone from now on. So are its parent's
    /// connections: their sockets' numbers lead nowhere any more.
    void disown() noexcept;

    /// A set of the child's own.
    void rebuild_after_fork(std::span<const int> wake_fds);

    /// The data of a wake fd's event.
    static constexpr std::uint64_t wake_tag = ~std::uint64_t{0};

private:
    struct entry
    {
        std::uint32_t generation = 0;
        std::uint32_t first = none;
        std::uint32_t mask = 0;
        bool in_set = false;
    };

    /// What tells a file that epoll refuses from another under its number. An unlinked one's inode is
    /// soon another's: hence the time of birth.
    struct file_identity
    {
        std::uint64_t inode = 0;
        std::uint32_t device_major = 0, device_minor = 0;
        std::int64_t born = 0;
        std::uint32_t born_nanoseconds = 0;

        bool operator==(const file_identity&) const = default;
    };

    struct unpollable
    {
        int fd;
        file_identity identity;
    };

    static file_identity identify(int fd) noexcept;
    entry& entry_of(int fd);
    static int wanted_events(const watch& w) noexcept;
    std::uint32_t wanted_mask(const entry& e) noexcept;
    watch* find_watch_of_socket(int id) noexcept;
    void apply(const watch& w) noexcept;
    bool is_same_file(int fd, const entry& e) const noexcept;
    int control(int operation, int fd, const entry& e, std::uint32_t mask) const noexcept;
    int enter(int fd, entry& e) noexcept;
    void apply(int fd, entry& e) noexcept;
    void orphan(int fd, entry& e) noexcept;
    void leave(int fd, entry& e) noexcept;
    void forget_always_ready(int fd) noexcept;
    bool append(entry& e, std::uint32_t epoll_events, std::vector<ready>& out);
    static int to_report(const watch& w, int events) noexcept;

    unique_fd epoll_;
    id_table<watch> watches_;
    std::vector<entry> entries_; // by fd
    std::vector<unpollable> always_ready_;
    bool ghosts_possible_ = false;
    bool ghost_seen_ = false;
    bool disowned_ = false;
};

} // namespace avirt::detail
