// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "files.hpp"
#include "random_stream.hpp"

#include <atomic>
#include <shared_mutex>

namespace conformance {

/// A file that is watched, its peer, and what poll may say of it.
class model_file
{
public:
    enum class kind { pipe_reader, pipe_writer, socket, counter, regular };

    explicit model_file(kind k);

    /// Held shared where the number has to mean this file, exclusively where the file is changed or closed.
    std::shared_mutex mutex;

    int fd() const noexcept // of a closed one too
    {
        return fd_;
    }
    bool is_open() const noexcept
    {
        return ours_.get() >= 0;
    }
    const char* name() const noexcept;

    /// All that can have been true of it so far: what was never true is another file's.
    int possible() const noexcept
    {
        return possible_;
    }
    /// What a loop has to report now to a watch that asks for these events.
    int ready_for(int events) const;

    /// Makes it ready for something, or no longer so.
    void change(random_stream random);

    enum class ending { complete, lives_on };

    /// A file that lives on does so under another number, which nobody watches.
    void close(ending how);

    /// Whether an epoll set may still report the file, although the number is closed.
    bool is_ghost() const noexcept
    {
        return is_ghost_;
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
    bool is_ghost_ = false;
};

} // namespace conformance
