// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "ending.hpp"
#include "pacing.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

/// libvirt's message for a failure, or that of the error code if libvirt has none.
std::string said(const avirt::exception& e);

/// Where the guest's output goes: this terminal, or a client.
class sink
{
public:
    virtual ~sink() = default;

    /// Completes when the output has been taken; the relay reads nothing from the guest meanwhile. The result
    /// is false if the client is gone.
    virtual asio::awaitable<bool> write(std::string_view output) = 0;
};

/// A session with a guest's console. Sinks may be attached and detached while it lasts.
class relay
{
public:
    /// How long a guest has to be silent before its answer is considered complete. QEMU looks for input only
    /// once a second, so that a shorter time would miss answers.
    static constexpr std::chrono::seconds answer_time{2};

    explicit relay(asio::any_io_executor executor);

    /// Throws an ending that tells the user what to do if the console cannot be opened.
    asio::awaitable<void> open(avirt::connection& connection, avirt::console console);

    /// Relays both ways until the console ends.
    asio::awaitable<ending> run();

    /// Types @p input on the guest's console. Waits while too much input is waiting to be sent.
    asio::awaitable<void> type(std::string_view input);

    /// The same without waiting: false if too much input is waiting, or if the guest seems to read nothing.
    bool try_type(std::string_view input);

    /// Continues to send, slowly, to a guest that prints nothing, because the guest may be reading. This may
    /// cost the connection (see pacing).
    void take_risks() noexcept
    {
        takes_risks_ = true;
    }

    /// Completes when all that was typed has been sent.
    asio::awaitable<void> sent();

    /// Completes when nothing has been sent to the guest, and nothing has come from it, for @p time from now.
    /// A guest whose output waits for the sink is not silent.
    asio::awaitable<void> silence(std::chrono::steady_clock::duration time);

    /// Sends the guest's output to @p to, beginning with the latest output that no sink has taken. Nothing is
    /// read from the guest until that has been taken.
    asio::awaitable<void> attach(std::shared_ptr<sink> to);
    void detach();

    /// Until the next sink is attached, keeps the guest's output for that one too, because the current sink
    /// may be gone.
    void remember() noexcept
    {
        remembers_ = true;
    }

    void forget() noexcept
    {
        missed_.clear();
    }

    asio::awaitable<void> close();

    avirt::async_stream& stream() noexcept
    {
        return stream_;
    }

    const std::string& domain() const noexcept
    {
        return domain_;
    }

private:
    class write_turn;

    asio::awaitable<ending> from_guest();
    asio::awaitable<ending> to_guest();
    asio::awaitable<void> forward(std::string_view output);
    asio::awaitable<void> turn_to_write();
    asio::awaitable<void> turn_to_send();
    bool keep(std::string_view input);
    ending console_failed(const avirt::exception& why) const;

    avirt::async_stream stream_;
    std::string domain_;

    std::shared_ptr<sink> sink_;
    std::string missed_; // output that no sink has taken
    bool remembers_ = false;
    bool is_writing_ = false; // to the sink

    std::string typed_; // not sent yet
    bool is_sending_ = false;
    bool takes_risks_ = false;
    pacing pace_;
    asio::steady_timer on_turn_; // Cancelling one of these three timers wakes its waiters.
    asio::steady_timer on_sent_;
    asio::steady_timer on_written_;
    std::chrono::steady_clock::time_point last_activity_;
};
