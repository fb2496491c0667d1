// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/detail/erase_handler.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/transfer_ends.hpp>
#include <avirt/openers.hpp>

#include <boost/asio/any_completion_handler.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace avirt {

/// A picture of a guest's screen.
struct picture
{
    std::string mime_type{}; ///< Its format, such as "image/png" or "image/x-portable-pixmap".
    std::vector<std::byte> bytes{};
};

namespace detail {

using picture_handler = asio::any_completion_handler<void(error_code, picture)>;

AVIRT_DECL void async_screenshot(
    std::shared_ptr<connection_impl> connection, screenshot what, const transfer_executors& executors,
    picture_handler handler, error_details* details);

struct launch_screenshot
{
    template <class Connection, class Handler>
    void operator()(Connection& conn, Handler&& handler, error_details* details, screenshot what) const
    {
        const auto executors = executors_of(handler, conn.get_executor());
        async_screenshot(
            implementation_of(conn), std::move(what), executors,
            erase_handler<void(error_code, picture)>(std::forward<Handler>(handler), conn.get_executor()),
            details);
    }
};

} // namespace detail

/// Asynchronously takes a picture of a guest's screen.
///
/// @param conn The connection. It must be open, and remain open until the completion handler is invoked.
/// @param what The domain and the number of its screen.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, picture)`. After a failure the picture is empty.
///
/// @par Errors
/// @li error::not_open: the connection is not open.
/// @li Those of the opener screenshot, of opening, reading and finishing a basic_async_stream.
///
/// @par Per-operation cancellation
/// Terminal, partial and total.
///
/// @par libvirt
/// virDomainLookupByName, virDomainLookupByUUIDString, virDomainScreenshot, virStreamRecv, virStreamFinish.
///
/// @code
/// const auto screen = co_await avirt::async_screenshot(conn, avirt::screenshot{"vm1"});
/// std::cout << screen.mime_type << ", " << screen.bytes.size() << " bytes\n";
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, picture)) Token = detail::default_token_t<Executor>>
auto async_screenshot(basic_connection<Executor>& conn, screenshot what, Token&& token = {})
{
    return asio::async_initiate<Token, void(error_code, picture)>(
        detail::initiation(conn, detail::launch_screenshot()), token, std::move(what));
}

} // namespace avirt
