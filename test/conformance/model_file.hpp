// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "files.hpp"
#include "random_stream.hpp"

#include <atomic>
#include <shared_mutex>

namespace conformance {

/// A watched file, its peer, and the events that poll may report for it.
class model_file
{
public:
    enum class kind { pipe_reader, pipe_writer, socket, counter, regular };

    explicit model_file(kind k);

    /// Held shared while the fd has to refer to this file, exclusively while the file is changed or closed.
    std::shared_mutex mutex;

    int fd() const noexcept // also after close()
    {
        return fd_;
    }
    bool is_open() const noexcept
    {
        return ours_.get() >= 0;
    }
    const char* name() const noexcept;

    /// All events that may have been true of the file so far. Any other event comes from another file.
    int possible() const noexcept
    {
        return possible_;
    }
    /// The events that a loop has to report now to a watch that asks for these events.
    int ready_for(int events) const;

    /// Makes the file ready for something, or no longer ready.
    void change(random_stream random);

    enum class ending { complete, lives_on };

    /// A file that lives on does so under another fd, which is not watched.
    void close(ending how);

    /// Whether an epoll set may still report the file, although its fd is closed.
    bool outlives_its_fd() const noexcept
    {
        return outlives_its_fd_;
    }

private:
    void feed();
    void drain();
    void fill();
    void relieve();
    void close_peer();
    void end_peer();

    const kind kind_;
    file ours_;
    file peer_;
    file duplicate_;
    int fd_ = -1;
    std::atomic<int> possible_{0};
    bool outlives_its_fd_ = false;
};

} // namespace conformance
