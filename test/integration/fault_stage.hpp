// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/avirt.hpp>
#include <support/embedded_driver.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

// What a cell of the fault matrix (fault_matrix_test.cpp) is tried on.

namespace faults {

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;

enum class operation { read, write, finish, abort, open, wait, hole, idle };

enum class fault {
    cancel_terminal,
    cancel_partial,
    cancel_total,
    cancel_after,
    own_handler,
    other_thread,
    context,
    sigstop,
    sigkill,
    takeover,
    guest_destroyed,
    guest_not_reading,
    no_space,
    bytewise,
    error_after_data,
    close_after_data
};

/// A peer, and the connection that leads to it.
enum class peer { fake_own, fake_shared, private_own, private_shared, embedded };

/// What a peer sends before it fails, and the length of the hole that precedes it if holes are read.
inline const std::string what_comes = "what came before";
inline constexpr int hole_length = 20;

using opener = std::variant<
    avirt::console, avirt::volume_download, avirt::volume_upload,
    std::function<int(virConnectPtr, virStreamPtr)>>;

/// A connection, a stream to a peer, and one operation of that stream. Unless the operation is to succeed,
/// the peer is held: it does nothing that the operation needs until it is released.
class stage
{
public:
    static std::unique_ptr<stage> make(peer with, operation op, fault what);

    virtual ~stage() = default;
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;

    /// Opens the stream, unless the operation does that, holds the peer, starts the operation and provokes
    /// the fault.
    void play();
    /// Starts the operation, as play() does.
    void begin();
    /// Releases the peer and closes everything, however far the cell has come.
    virtual void clean_up();

    /// The result of the operation.
    const outcome& result() const noexcept
    {
        return result_;
    }

    /// The message that came with the latest failure.
    const std::string& message() const noexcept
    {
        return details_.message;
    }

    void await_result();
    /// Waits until something can be read, if the peer is a daemon.
    void await_arrival();
    /// Runs whatever does not need the peer.
    void settle();
    /// Settles until libvirt has nothing to report any more.
    void run_until_idle();
    void cancel();

    struct everything
    {
        std::string text; ///< A hole is its length in parentheses.
        error_code ending;
    };

    /// Reads up to the first error, beginning with the result of the operation, and checks that the error is
    /// reported again.
    everything read_everything();
    /// Returns the result of the operation, a write, or that of the first later one that fails.
    error_code write_until_failure();
    error_code finish();
    /// Calls a function on the connection.
    error_code call();
    /// Opens the stream again.
    error_code reopen();

    bool is_open() const noexcept
    {
        return stream_ && stream_->is_open();
    }

    /// Whether the operation's handler has been destroyed, with everything in it.
    bool is_handler_gone() const noexcept
    {
        return handler_token_.use_count() == 1;
    }

    /// Everything that the peer sends, as read_everything() returns it.
    virtual std::string expected() const = 0;
    virtual void release() = 0;
    /// Uses the stream to the end, and checks that nothing was lost either way.
    virtual void check_stream() = 0;

protected:
    stage(peer with, operation op, fault what, support::loop_fixture& loop);

    /// Opens the connection.
    virtual void set_up() = 0;
    virtual avirt::connection& connection()
    {
        return *conn_;
    }
    virtual opener what_to_open() = 0;
    virtual void hold() = 0;
    virtual void let_succeed()
    {
        release();
    }
    /// Called when the operation has begun.
    virtual void provoke() = 0;

    bool is_shared() const noexcept
    {
        return peer_ == peer::fake_shared || peer_ == peer::private_shared;
    }

    template <class Token>
    void open(avirt::async_stream& s, const opener& what, Token token)
    {
        const auto open_one = [&](const auto& o) {
            if (is_shared())
                s.async_open(connection(), avirt::shared_connection, o, std::move(token));
            else
                s.async_open(connection(), o, std::move(token));
        };
        std::visit(open_one, what);
    }

    bool concerns_guest() const noexcept
    {
        return what_ == fault::takeover || what_ == fault::guest_destroyed
            || what_ == fault::guest_not_reading;
    }

    void connect(const std::string& uri);
    /// Makes the sockets that are connected to a path take little.
    static void shrink_send_buffers(const std::string& path);
    /// Writes until nothing can be written without waiting.
    void fill();
    void write(const std::string& text);
    void await_readable();
    /// Types a line on a guest's console, and waits for its echo.
    void converse();
    /// Types a letter on a guest's console, and waits for its echo, which stays unread.
    void leave_echo_unread();
    void run_until(const std::function<bool()>& done);
    void run_until_done(const outcome& o);

    const peer peer_;
    const operation op_;
    const fault what_;
    support::loop_fixture& loop_;
    std::optional<asio::io_context> stream_context_; // the stream's, if a context is to be destroyed
    std::optional<avirt::connection> conn_;
    std::optional<avirt::async_stream> stream_;
    outcome result_;
    std::size_t sent_ = 0;
    std::string unread_; // what the guest has sent, and is still unread when the fault comes

private:
    class handler;

    /// Whether the operation writes to the full terminal of a suspended guest in this process.
    bool fills_terminal() const noexcept
    {
        return peer_ == peer::embedded && op_ == operation::write && !concerns_guest()
            && what_ != fault::own_handler;
    }

    void start();
    template <class Token>
    void start(Token token);
    void await_beginning();
    void provoke_fault();
    bool must_retry_write();
    void end_on_another_thread();
    void poll_stream_context();

    bool has_started_ = false;
    asio::cancellation_signal signal_;
    avirt::error_details details_{};
    std::shared_ptr<int> handler_token_ = std::make_shared<int>();
    std::string memory_ = std::string(4096, '\0');
};

/// What the cells share: the embedded driver gives up root's rights for the whole process.
class environment
{
public:
    environment();
    ~environment();

    struct embedded_world;
    embedded_world& embedded();
    static environment& instance();

private:
    support::embedded_driver driver_;
    std::unique_ptr<embedded_world> embedded_;
};

} // namespace faults
