// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_session.hpp>
#include <avirt/console_state.hpp>
#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/console_session_impl.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace avirt {

/// Options of a console view.
struct console_view_options
{
    /// Begins with what comes next.
    static constexpr std::uint64_t live = ~std::uint64_t{0};
    /// Begins with the oldest output that is kept.
    static constexpr std::uint64_t everything = 0;

    /// Where to begin: live, everything, or the offset of a byte of the session's output. If that byte is no
    /// longer kept, the first read completes with error::output_lost; if it has not come yet, the view is
    /// live.
    std::uint64_t from = live;
};

/// One of many readers of a console session, each with its own place in the session's output.
///
/// The class meets the AsyncReadStream requirements. A view costs a place in the session's history, and no
/// copy of the output; it never holds up the guest, the session or another view. If it is further behind than
/// the session keeps output, it loses the oldest, and is told how much.
///
/// The view may outlive the session: when it has read everything, reads complete with asio::error::eof. One
/// read may be outstanding at a time. A view may be destroyed or moved inside its own handlers, and with a
/// read outstanding, which completes with operation_aborted. A moved-from view can only be assigned to or
/// destroyed.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe. As with Asio's own objects, cancellation signals have to be emitted in the
/// object's strand.
///
/// @code
/// avirt::console_view view{session, {.from = avirt::console_view_options::everything}};
/// auto [ec, n] = co_await view.async_read_some(asio::buffer(memory), asio::as_tuple(asio::use_awaitable));
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_console_view
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;
    /// The view is its own lowest layer.
    using lowest_layer_type = basic_console_view;

    /// Rebinds the type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_console_view<E>;
    };

    /// Constructs a view.
    ///
    /// @param session The session, whose executor the view uses. It may be destroyed before the view. Several
    /// threads may construct views of it at the same time.
    /// @param options Where the view begins.
    template <std::convertible_to<Executor> E>
    explicit basic_console_view(basic_console_session<E>& session, console_view_options options = {})
        : executor_(session.get_executor()),
          impl_(detail::implementation_of(session)->add_view(options.from))
    {
    }

    /// Move-constructs a view from another.
    basic_console_view(basic_console_view&&) noexcept = default;

    /// Ends an outstanding read, as cancel() does, and move-assigns another view.
    basic_console_view& operator=(basic_console_view&& other) noexcept
    {
        if (this != &other) {
            cancel();
            executor_ = other.executor_;
            impl_ = std::move(other.impl_);
        }
        return *this;
    }

    /// Ends an outstanding read, as cancel() does.
    ~basic_console_view()
    {
        cancel();
    }

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Gets a reference to the lowest layer.
    lowest_layer_type& lowest_layer() noexcept
    {
        return *this;
    }

    /// Gets a const reference to the lowest layer.
    const lowest_layer_type& lowest_layer() const noexcept
    {
        return *this;
    }

    /// Gets the offset, in the session's output, of the byte that is read next. After error::output_lost it
    /// has advanced by what was lost.
    std::uint64_t offset() const noexcept
    {
        return impl_->offset();
    }

    /// Gets the number of bytes that the view has lost since this function was last called.
    std::uint64_t lost() noexcept
    {
        return impl_->lost();
    }

    /// Gets the state that the session was in at the place that the view has come to.
    console_state state() const noexcept
    {
        return impl_->state();
    }

    /// Cancels an outstanding read, which completes with operation_aborted. No output is lost.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Asynchronously reads some output.
    ///
    /// @param buffers The buffers to read into. They are filled one after the other with what has come. The
    /// memory must remain valid until the completion handler is invoked.
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, std::size_t)`
    ///
    /// @par Errors
    /// @li error::output_lost: the view has fallen behind; lost() says by how many bytes. Reading goes on
    /// with the oldest output that is kept; state() is that at the new place.
    /// @li error::console_state_changed: the view has read everything that came before; state() tells what
    /// follows. Reading goes on.
    /// @li asio::error::eof: the session is closed, and everything has been read.
    /// @li error::operation_in_progress: a read is outstanding.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No output is lost.
    template <
        detail::mutable_buffers MutableBufferSequence,
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, std::size_t))
            Token = detail::default_token_t<Executor>>
    auto async_read_some(const MutableBufferSequence& buffers, Token&& token = {})
    {
        return detail::initiate_attempt<
            detail::io_result, &detail::console_view_impl::try_read, &detail::console_view_impl::async_read>(
            *this, token, detail::mutable_buffer_list(buffers));
    }

private:
    friend struct detail::access;

    const std::shared_ptr<detail::console_view_impl>& impl() const noexcept
    {
        return impl_;
    }

    executor_type executor_;
    std::shared_ptr<detail::console_view_impl> impl_;
};

/// A view whose executor is asio::any_io_executor.
using console_view = basic_console_view<>;

} // namespace avirt
