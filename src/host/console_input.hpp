// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "host/input_pacing.hpp"

#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/handlers.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>

namespace avirt::detail {

/// The input of one session: what has been written and not been sent, up to a limit, and the writes that wait
/// for room. All functions may be called from any thread; those of the sender by one thread at a time.
class console_input : public std::enable_shared_from_this<console_input>
{
public:
    /// @param waits_for_console Whether writes wait for the console to be opened, instead of failing.
    console_input(const asio::any_io_executor& executor, bool waits_for_console);

    // For the application.

    /// Returns false if the write has to wait.
    bool try_write(const const_buffer_list& buffers, io_result& result);
    void async_write(const const_buffer_list& buffers, io_handler handler, error_details* details);
    std::uint64_t take_unknown() noexcept;

    // For the session.

    /// From now on, writes are accepted.
    void attach();
    /// From now on, writes fail or wait for the console. What has been sent since the guest's last output, or
    /// not at all, may not have arrived.
    void detach() noexcept;
    /// The same if nothing waits to be sent: otherwise does nothing, and returns nothing. Returns the number
    /// of bytes that may not have arrived.
    std::optional<std::uint64_t> detach_if_idle() noexcept;
    /// Bytes of which detach_if_idle() did not know it have arrived.
    void arrived(std::uint64_t size) noexcept;
    /// Ends the writes that wait for the console, which will not be opened now.
    void refuse(const failure& why) noexcept;
    void close() noexcept;
    /// Destroys the handlers, because the context ends.
    void shutdown() noexcept;
    /// Whether there is a write, or input that has not been sent.
    bool is_waiting() const noexcept;

    // For the sender.

    /// What may be sent now; empty: nothing. It remains valid until sent() is called.
    asio::const_buffer next_packet(input_pacing::clock::time_point now);
    /// Some of the packet has been sent; 0: the send has failed.
    void sent(std::size_t size, input_pacing::clock::time_point now);
    /// The guest has printed something. Returns whether input waits, of which more may be sent now.
    /// @param is_paused The guest is paused: what comes now was printed before.
    bool heard(bool is_paused) noexcept;
    void on_paused(input_pacing::clock::time_point now) noexcept;
    /// When next_packet() or is_stalled() will give another answer, if nothing else happens before.
    std::optional<input_pacing::clock::time_point> next_change(
        input_pacing::clock::time_point now, bool is_paused) const noexcept;
    /// Whether input waits that the guest does not take.
    /// @param is_paused Whether the guest is paused: it takes nothing that is sent then.
    bool is_stalled(input_pacing::clock::time_point now, bool is_paused) const noexcept;

private:
    using write_operation = pending_operation<void(error_code, std::size_t)>;

    struct write
    {
        std::uint64_t number = 0;
        const_buffer_list buffers{};
        write_operation operation{};
    };

    enum class phase { attached, detached, closed };

    bool try_write_locked(const const_buffer_list& buffers, io_result& result);
    std::size_t accept(const const_buffer_list& buffers);
    void accept_waiting_writes();
    void give_up_input() noexcept;
    void end_writes(const failure& why) noexcept;
    void cancel(std::uint64_t number) noexcept;
    bool waits_for_guest(bool is_paused) const noexcept;

    static constexpr std::size_t max_size = 64 * 1024;
    /// After this time without an answer, a guest seems to take no input.
    static constexpr input_pacing::clock::duration patience = std::chrono::seconds(5);

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_; // empty: the context has ended
    const bool waits_for_console_;
    phase phase_ = phase::detached;
    std::string unsent_;
    std::string sending_; // the packet that is being sent
    bool is_sending_ = false;
    bool is_counted_ = false;                         // The console was lost while the packet was being sent.
    input_pacing::clock::time_point last_progress_{}; // when something was sent or heard
    std::uint64_t unheard_ = 0;                       // bytes sent since the guest's last output
    std::uint64_t waits_for_paused_ = 0;              // bytes that a paused guest may not have taken
    std::uint64_t unknown_ = 0;
    input_pacing pace_;
    std::list<write> writes_; // those that wait, in order
    std::uint64_t last_number_ = 0;
};

} // namespace avirt::detail
