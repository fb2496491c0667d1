// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_session_options.hpp>
#include <avirt/console_state.hpp>
#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/console_session_impl.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/error.hpp>
#include <avirt/openers.hpp>
#include <avirt/supervised_connection.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace avirt {

/// A guest's console that outlives the guest's shutdowns and the daemon's restarts, and that many may look
/// at.
///
/// The session opens the console whenever the host is connected and the guest runs, and opens it again, after
/// a delay, when it has been lost. The driver has to report lifecycle events. The session keeps the latest
/// output, which any number of console_view objects read, each at its own pace; none of them holds up the
/// guest, the session or another view. If another client has the console, the session waits, and takes it
/// over only if the application asks for that. The sessions of a host open at most eight consoles at a time;
/// the others wait.
///
/// The session begins when it is constructed, and so does the supervision of the host. It ends with close(),
/// with the destruction of the object, or when the host is closed; until then it keeps the context running.
/// Its views can read what has been kept even then. Destroying the object never blocks. A moved-from object
/// can only be assigned to or destroyed.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Safe for all functions and operations, and for the construction of views. To move,
/// assign to or destroy the object, a thread must have it to itself.
///
/// @par libvirt
/// virDomainOpenConsole, virStreamRecv, virStreamSend, and what supervised_connection uses.
///
/// @code
/// avirt::supervised_connection host{io};
/// avirt::console_session session{host, avirt::console{"vm1"}};
/// avirt::console_view view{session};
/// for (;;) {
///     auto [ec, n] = co_await view.async_read_some(
///         asio::buffer(memory), asio::as_tuple(asio::use_awaitable));
///     if (ec == avirt::error::console_state_changed)
///         std::cout << "[the console is " << avirt::to_string(view.state()) << "]\n";
///     else if (ec == avirt::error::output_lost)
///         std::cout << '[' << view.lost() << " bytes lost]\n";
///     else if (ec)
///         break; // asio::error::eof: the session is closed
///     std::cout.write(memory.data(), n);
/// }
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_console_session
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;

    /// Rebinds the type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_console_session<E>;
    };

    /// Constructs a session, and starts it.
    ///
    /// @param host The supervised connection, whose executor the session uses. Closing or
    /// destroying it closes the session. Several threads may construct sessions of it at the same time.
    /// @param which The guest, by name or UUID, which need not exist yet, and the device. The flag
    /// VIR_DOMAIN_CONSOLE_FORCE does the same as console_session_options::force.
    /// @param options How much output is kept, and when the console is opened.
    template <std::convertible_to<Executor> E>
    basic_console_session(
        basic_supervised_connection<E>& host, console which, console_session_options options = {})
        : executor_(host.get_executor()),
          impl_(detail::console_session_impl::make(
              executor_, detail::implementation_of(host), detail::implementation_of(host.connection()),
              std::move(which), options))
    {
    }

    /// Move-constructs a session from another.
    basic_console_session(basic_console_session&&) noexcept = default;

    /// Closes the session, as close() does, and move-assigns another.
    basic_console_session& operator=(basic_console_session&& other) noexcept
    {
        if (this != &other) {
            close();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Closes the session, as close() does.
    ~basic_console_session()
    {
        close();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Gets the state of the session.
    console_state state() const noexcept
    {
        return impl_->state();
    }

    /// Gets why the session is in its state, if libvirt or avirt knows more than the state says. Without a
    /// reason, the message is empty.
    error_details reason() const
    {
        return impl_->reason();
    }

    /// Gets the number of bytes of output since the session began: the offset of the next byte.
    std::uint64_t end_offset() const noexcept
    {
        return impl_->end_offset();
    }

    /// Gets the number of bytes that were written and of which it is not known whether they have reached the
    /// guest, because the console was lost, since this function was last called. The session does not send
    /// them again: the guest may have been restarted.
    ///
    /// They are those that were sent after the guest's last output, or not at all.
    std::uint64_t unknown_input() noexcept
    {
        return impl_->unknown_input();
    }

    /// Opens the console with VIR_DOMAIN_CONSOLE_FORCE now, if the guest runs and the session is not
    /// attached. Any other session that has the console loses it. Returns at once; async_wait_for() tells the
    /// result.
    void take_over() noexcept
    {
        impl_->take_over();
    }

    /// Closes the session, and the console. Never blocks. Outstanding writes complete with operation_aborted,
    /// the other operations with error::not_open, and reads of views with asio::error::eof when everything
    /// has been read. Input that has not been sent is dropped.
    void close() noexcept
    {
        if (impl_)
            impl_->close();
    }

    /// Asynchronously starts the guest so that no byte of its output is missed: starts it paused, waits until
    /// the session is attached, and resumes it.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the session is closed, or the host is not connected.
    /// @li condition::not_found, condition::wrong_state: there is no such domain, or it runs already.
    /// @li error::not_attached: the console cannot be opened; the details say why.
    /// @li condition::connection_lost and libvirt's errors of starting and resuming the guest.
    ///
    /// If the guest has been started, it is destroyed after a failure, unless the connection is lost: it has
    /// not executed an instruction.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. A guest that has not been resumed is destroyed. A terminal cancellation
    /// may cost the host's connection, which is opened again, as of basic_connection::async_call().
    ///
    /// @par libvirt
    /// virDomainCreateWithFlags with VIR_DOMAIN_START_PAUSED, virDomainResume, virDomainDestroy.
    ///
    /// @code
    /// avirt::console_view view{session};
    /// co_await session.async_start();
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_start(Token&& token = {})
    {
        return detail::initiate<&detail::console_session_impl::async_start, void(error_code)>(*this, token);
    }

    /// Asynchronously writes some input for the guest.
    ///
    /// The operation completes when the session has taken the input: it holds about 64 KiB that have not
    /// been sent yet. What is written in quick succession is sent together. To a guest that prints nothing
    /// the session sends at most 4 KiB in small pieces, and then four more pieces, one a second, each of
    /// everything that has been written meanwhile: libvirt drops a connection on which five pieces wait. When
    /// the guest prints something, sending goes on.
    ///
    /// Several writes may be outstanding; they are served in the order in which they were launched.
    ///
    /// @param buffers The input. The memory must remain valid until the completion handler is invoked.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, std::size_t)`
    ///
    /// @par Errors
    /// @li error::not_attached: the console is not open at present, or was lost while the write waited.
    /// A session on demand opens the console first.
    /// @li error::not_open: the session is closed.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. Nothing has been written then.
    template <
        detail::const_buffers ConstBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_write_some(const ConstBufferSequence& buffers, Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::io_result, &detail::console_session_impl::try_write,
            &detail::console_session_impl::async_write>(*this, token, detail::const_buffer_list(buffers));
    }

    /// Asynchronously waits until the session is in a state. The operation also succeeds if the session has
    /// been in the state for a moment only.
    ///
    /// @param state The state; console_state::closed too can be waited for.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code)`
    ///
    /// @par Errors
    /// @li error::not_open: the session is closed, and another state was waited for.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total.
    ///
    /// @code
    /// co_await session.async_wait_for(avirt::console_state::attached, avirt::cancel_after(1min,
    /// asio::use_awaitable));
    /// @endcode
    template <BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code)) Token = detail::default_token_t<Executor>>
    auto async_wait_for(console_state state, Token&& token = {})
    {
        const auto launch = [](basic_console_session& self, auto&& handler, error_details* details,
                               console_state awaited) {
            self.impl_->async_wait_for(
                awaited,
                detail::erase_handler<void(error_code)>(
                    std::forward<decltype(handler)>(handler), self.get_executor()),
                details);
        };
        return asio::async_initiate<Token, void(error_code)>(detail::initiation(*this, launch), token, state);
    }

private:
    friend struct detail::access;

    const std::shared_ptr<detail::console_session_impl>& impl() const noexcept
    {
        return impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::console_session_impl> impl_;
};

/// A session whose executor is asio::any_io_executor.
using console_session = basic_console_session<>;

} // namespace avirt

#include <avirt/console_view.hpp>
