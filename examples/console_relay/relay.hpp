// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "ending.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// libvirt's message for a failure, or that of the error code if libvirt has none.
std::string said(const avirt::exception& e);

/// Where the guest's output goes: this terminal, or a client. The functions throw if it is gone.
class sink
{
public:
    virtual ~sink() = default;

    /// Completes when the output has been taken.
    virtual asio::awaitable<void> write(std::string_view output) = 0;

    /// Says something of the relay's own, in a line of its own.
    virtual asio::awaitable<void> say(std::string message) = 0;
};

class relay;

/// One of those who look at the console. It begins with the oldest output that is kept.
class viewer
{
public:
    explicit viewer(relay& console);

    /// Shows the output, and what happens to the console, until the console ends. If the sink is slow, output
    /// is lost; the sink is told how much.
    asio::awaitable<void> show(sink& to);

    /// Says something when there is time: at once, or when the sink has taken what is being written.
    void tell(std::string message);

    /// Completes when nothing has come from the guest for @p time from now. A guest whose output waits for
    /// the sink is not silent.
    asio::awaitable<void> silence(std::chrono::steady_clock::duration time);

    /// The state of the console at the place to which it has been shown.
    avirt::console_state state() const noexcept
    {
        return view_.state();
    }

private:
    asio::awaitable<void> show_output(sink& to, std::string_view output);
    asio::awaitable<void> show_change(sink& to, avirt::console_state before);
    bool is_over() const noexcept;
    void catch_up() noexcept;

    relay& relay_;
    avirt::console_view view_;
    bool has_opened_;
    bool is_live_ = false; // What is shown has just happened.
    bool is_writing_ = false;
    std::vector<std::string> messages_;
    std::chrono::steady_clock::time_point last_activity_;
};

/// A guest's console, which any number of viewers look at.
class relay
{
public:
    /// How long a guest has to be silent before its answer is considered complete. QEMU looks for input only
    /// once a second, so that a shorter time would miss answers.
    static constexpr std::chrono::seconds answer_time{2};

    /// @param waits Whether the console is waited for, and opened again, instead of ending.
    relay(avirt::supervised_connection& host, avirt::console which, bool waits);

    /// Completes when the console is open; at once if it is waited for. Throws an ending that tells the user
    /// what to do if the console cannot be opened.
    asio::awaitable<void> open();

    /// Shows the console to @p to, the first viewer, until it ends. Returns why.
    asio::awaitable<ending> show(sink& to);

    /// Types @p input on the guest's console. Waits while too much input waits to be sent; drops what is
    /// typed while the console is not open.
    asio::awaitable<void> type(std::string_view input);

    /// The same, but waits for the console if it is waited for.
    asio::awaitable<void> type_all(std::string_view input);

    /// The same without waiting. The result is false if some input has been dropped.
    asio::awaitable<bool> try_type(std::string_view input);

    /// Leaves the console, if possible when the guest has taken what was typed. Waits for at most a second.
    asio::awaitable<void> leave();

    void close() noexcept
    {
        session_.close();
    }

    /// The first viewer. It exists until leave().
    viewer& front() noexcept
    {
        return *front_;
    }

    avirt::console_session& session() noexcept
    {
        return session_;
    }

    /// The number of bytes that type_all() has typed since the guest's last output.
    std::size_t unanswered() const noexcept
    {
        return unanswered_;
    }

    const std::string& domain() const noexcept
    {
        return domain_;
    }

    bool waits() const noexcept
    {
        return waits_;
    }

    /// Tells the first viewer once if the guest takes no input. If the console is waited for, every viewer is
    /// told all that happens.
    void tell_stall() noexcept
    {
        tells_stall_ = true;
    }

private:
    friend class viewer;

    /// What there is to tell a viewer about a change of the state; may be nothing.
    std::string news_for(const viewer& who, avirt::console_state before, avirt::console_state now);
    std::string news(avirt::console_state before, avirt::console_state now) const;
    /// Whether the guest has the device, or any console if none was named.
    asio::awaitable<bool> has_device();
    ending not_opened(avirt::console_state state, const avirt::error_details& why, bool exists) const;
    ending ended(avirt::console_state state) const;

    avirt::supervised_connection& host_;
    std::string domain_;
    std::string device_;
    bool waits_;
    bool tells_stall_ = false;
    std::size_t unanswered_ = 0;
    avirt::console_session session_;
    std::optional<viewer> front_;
};
