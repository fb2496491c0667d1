// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "host/console_attempts.hpp"
#include "host/console_broadcast.hpp"
#include "host/console_input.hpp"
#include "host/console_run.hpp"
#include "host/domain_follower.hpp"
#include "host/host_consoles.hpp"
#include "loop/deadline.hpp"
#include "stream/own_stream.hpp"

#include <avirt/console_session_options.hpp>
#include <avirt/detail/connection_impl.hpp>
#include <avirt/openers.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace avirt::detail {

/// Opens a console whenever it can be opened, publishes its output and its states, and sends its input. A
/// single coroutine opens and reads; it and everything else runs on a strand.
class console_driver final : public domain_follower,
                             public context_object,
                             public std::enable_shared_from_this<console_driver>
{
public:
    console_driver(
        const asio::any_io_executor& executor, std::shared_ptr<host_consoles> consoles,
        std::shared_ptr<connection_impl> connection, console which, const console_session_options& options);

    // From any thread.

    void start(std::shared_ptr<supervisor_impl> host);
    void close() noexcept;
    void take_over() noexcept;
    /// Input has been written, or a write waits.
    void on_input();
    /// A view, or an operation, needs the console.
    void add_user();
    void remove_user() noexcept;

    const std::shared_ptr<console_broadcast>& broadcast() const noexcept
    {
        return broadcast_;
    }

    const std::shared_ptr<console_input>& input() const noexcept
    {
        return input_;
    }

    const std::string& domain() const noexcept
    {
        return which_.domain;
    }

    /// How often the guest has been found started.
    unsigned starts() const noexcept
    {
        return attempts_.starts();
    }

    /// The id that the guest has in the run whose console is open; console_run_opener::no_run if none is.
    int attached_run() const noexcept
    {
        return attached_run_;
    }

    void shutdown() noexcept override;

    bool follows(const domain_status& d) const override;
    void on_host_away(const failure& why) override;
    void on_host_closed(const failure& why) override;
    void on_domain(const domain_status* domain, int event) override;
    void on_turn_to_open() override;

private:
    using clock = std::chrono::steady_clock;

    template <class Function>
    void post(Function function);

    static asio::awaitable<void> run(std::shared_ptr<console_driver> self);
    asio::awaitable<failure> use_console();
    asio::awaitable<bool> wait_for_turn();
    asio::awaitable<failure> open();
    asio::awaitable<failure> read();
    asio::awaitable<void> finish();
    bool is_needed();
    asio::awaitable<void> wait_for_change();
    asio::awaitable<void> wait_until(clock::time_point when);

    bool is_wanted() const noexcept;
    bool may_open() const noexcept;
    void show_why_not();
    void show_attached();
    void on_output();
    void on_ended(const failure& why);
    void send();
    void await_pace();
    void changed();
    void end();

    mutable fork_safe_mutex mutex_; // guards strand_
    asio::any_io_executor strand_;  // empty: the context has ended
    const std::shared_ptr<host_consoles> consoles_;
    const std::shared_ptr<connection_impl> connection_;
    const console which_;
    const console_session_options options_;
    const std::shared_ptr<console_broadcast> broadcast_;
    const std::shared_ptr<console_input> input_;
    std::atomic<std::size_t> users_{0};
    std::atomic<bool> is_send_posted_{false};
    std::atomic<int> attached_run_{console_run_opener::no_run};

    // Everything below is used on the strand.

    // What is known of the host and of the guest.
    bool is_host_away_ = true;
    bool is_active_ = false;
    bool is_paused_ = false;
    error_details reason_; // why the host is away, or the guest's state
    bool is_closed_ = false;

    console_attempts attempts_;
    bool has_turn_ = false;
    enum class phase { idle, opening, attached, finishing } phase_ = phase::idle;
    std::optional<own_stream> stream_; // while it is being opened, and used
    bool has_send_failed_ = false;
    std::optional<std::uint64_t> in_doubt_; // input, when the console is not needed any more
    std::optional<deadline> pace_deadline_;
    std::optional<asio::any_completion_handler<void()>> waiting_; // the coroutine, if it waits for a change
    bool has_changed_ = false;
};

} // namespace avirt::detail
