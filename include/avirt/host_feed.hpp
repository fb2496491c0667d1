// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/initiation.hpp>
#include <avirt/detail/supervisor_impl.hpp>
#include <avirt/error.hpp>
#include <avirt/host_report.hpp>
#include <avirt/supervised_connection.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <utility>

namespace avirt {

/// One of many receivers of the reports of a supervised connection.
///
/// A feed begins with the present state of the host, host_connected or host_disconnected, which is known
/// without asking the daemon; every change follows, in order. Feeds do not affect each other: one that is not
/// received from drops its reports when its queue is full, and starts over.
///
/// A feed may outlive the supervised connection: receiving fails with error::not_open then. A moved-from
/// object can only be assigned to or destroyed.
///
/// @par Thread safety
/// @e Distinct @e objects: Safe.@n
/// @e Shared @e objects: Unsafe.
///
/// @code
/// avirt::host_feed feed{host};
/// for (;;) {
///     auto report = co_await feed.async_receive();
///     if (auto* changed = std::get_if<avirt::domain_changed>(&report))
///         co_await send_event(client, changed->status.name, changed->event);
/// }
/// @endcode
template <class Executor = asio::any_io_executor>
class basic_host_feed
{
public:
    /// The type of the executor associated with the object.
    using executor_type = Executor;

    /// Rebinds the type to another executor.
    template <class E>
    struct rebind_executor
    {
        using other = basic_host_feed<E>;
    };

    /// Constructs a feed.
    ///
    /// @param host The supervised connection, whose executor the feed uses. It may be destroyed before the
    /// feed. Several threads may construct feeds of it at the same time.
    /// @param capacity Maximum number of queued reports, of which at most sixteen are host_connected.
    template <std::convertible_to<Executor> E>
    explicit basic_host_feed(basic_supervised_connection<E>& host, std::size_t capacity = 1024)
        : executor_(host.get_executor()),
          impl_(std::make_unique<detail::host_feed_impl>(detail::implementation_of(host), capacity))
    {
    }

    /// Move-constructs a feed from another.
    basic_host_feed(basic_host_feed&&) noexcept = default;
    /// Ends an outstanding receive, as cancel() does, and move-assigns another feed.
    basic_host_feed& operator=(basic_host_feed&&) noexcept = default;
    /// Ends an outstanding receive, as cancel() does.
    ~basic_host_feed() = default;

    /// Gets the executor associated with the object.
    executor_type get_executor() const noexcept
    {
        return executor_;
    }

    /// Cancels an outstanding async_receive(), which completes with operation_aborted. No report is lost.
    void cancel() noexcept
    {
        if (impl_)
            impl_->cancel();
    }

    /// Asynchronously receives the next report. The first operation on a host starts its supervision.
    ///
    /// @param token The completion token.
    ///
    /// @par Completion signature
    /// `void(error_code, host_report)`
    ///
    /// @par Errors
    /// @li error::events_lost: the queue of reports overflowed and was dropped. The next report is
    /// host_connected, whose `missed` names what the feed has missed; while the host is away, it is
    /// host_disconnected, and host_connected follows later.
    /// @li error::no_event_loop: no event_loop exists.
    /// @li error::operation_in_progress: a receive is outstanding.
    /// @li error::not_open: the host was closed.
    ///
    /// @par Per-operation cancellation
    /// Terminal, partial and total. No report is lost.
    template <
        BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, host_report))
            Token = detail::default_token_t<Executor>>
    auto async_receive(Token&& token = {})
    {
        return detail::initiate<&detail::host_feed_impl::async_receive, void(error_code, host_report)>(
            *this, token);
    }

private:
    friend struct detail::access;

    const std::unique_ptr<detail::host_feed_impl>& impl() const noexcept
    {
        return impl_;
    }

    executor_type executor_;
    std::unique_ptr<detail::host_feed_impl> impl_;
};

/// A feed whose executor is asio::any_io_executor.
using host_feed = basic_host_feed<>;

} // namespace avirt
