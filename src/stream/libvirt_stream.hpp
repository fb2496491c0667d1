// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"

#include <avirt/detail/failure.hpp>

#include <libvirt/libvirt.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace avirt::detail {

/// A virStream, what its failures mean, and how it ends.
class libvirt_stream
{
public:
    /// What virStreamSend and virStreamRecv return if they would block.
    static constexpr int would_block = -2;

    /// @param is_console Whether failures are explained as those of a guest's console.
    /// @param socket The socket of the stream's connection; null if it is not known, or if the driver is in
    /// this process.
    libvirt_stream(virStreamPtr stream, bool is_console, std::shared_ptr<connection_socket> socket);

    virStreamPtr get() const noexcept
    {
        return stream_;
    }

    const std::shared_ptr<connection_socket>& socket() const noexcept
    {
        return socket_;
    }

    /// Returns whether this process is a forked child, and the stream is served by threads of its parent:
    /// libvirt must not be called for the stream then.
    bool is_parents() const noexcept;
    /// What operations fail with in such a child.
    static failure parents_failure();

    /// Adds to libvirt's failure what avirt knows about the stream and its connection.
    failure explain(failure f) const;
    /// Why a receive that returned @p result, which is neither a number of bytes nor would_block, was the
    /// last one. To be called on the thread that received, before any other libvirt call.
    failure receive_failure(int result) const;
    /// Why nothing can be sent any more when a stream in this process has reported a hang-up.
    failure hang_up_failure() const;
    /// Why nothing can be sent any more after the connection was lost.
    failure send_failure_after_loss() const;

    /// Notes a hole that is sent with what follows: older daemons stop at two holes in a row
    /// (docs/libvirt.md, "Holes").
    failure add_hole(std::uint64_t length);

    bool has_unsent_hole() const noexcept
    {
        return unsent_hole_ != 0;
    }

    /// Sends the hole that was noted, if there is one. May block.
    failure send_noted_hole();

    /// Keeps the stream from ending while a worker thread sends.
    class sending_scope
    {
    public:
        explicit sending_scope(libvirt_stream& stream)
            : held_(stream.sending_),
              is_sending_(stream.is_sending_)
        {
            is_sending_ = true;
        }

        ~sending_scope()
        {
            is_sending_ = false;
        }

        sending_scope(const sending_scope&) = delete;
        sending_scope& operator=(const sending_scope&) = delete;

    private:
        const std::lock_guard<std::mutex> held_;
        std::atomic<bool>& is_sending_;
    };

    bool is_sending() const noexcept
    {
        return is_sending_;
    }

    /// Calls virStreamFinish or virStreamAbort, and frees the stream. Blocks: for a worker thread, once
    /// libvirt does not report anything on the stream any more.
    /// @param is_awaited Whether an operation waits for the result.
    failure end(int (*function)(virStreamPtr), bool is_awaited);
    /// The stream does not count as a user of its connection any more.
    void end_use() noexcept;

private:
    const virStreamPtr stream_;
    const bool is_console_;
    const std::shared_ptr<connection_socket> socket_;
    std::atomic<std::uint64_t> unsent_hole_{0};
    std::mutex sending_; // held by a sending_scope
    std::atomic<bool> is_sending_{false};
    connection_use use_; // until the stream has ended, and no operation waits for that
    const unsigned generation_ = fork_gate::generation();
};

} // namespace avirt::detail
