// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/connection.hpp>
#include <avirt/openers.hpp>

#include <libvirt/libvirt.h>

#include <cstdint>
#include <utility>

namespace avirt {

/// The type and the sizes of a volume.
struct volume_info
{
    int type = 0;                 ///< virStorageVolType
    std::uint64_t capacity = 0;   ///< The size, in bytes, that a guest sees.
    std::uint64_t allocation = 0; ///< The bytes that the volume occupies.
    std::uint64_t physical = 0;   ///< The size of the file or device, in bytes; holes count.
};

namespace detail {

/// Asks for the volume's type and sizes.
class volume_info_call
{
public:
    explicit volume_info_call(volume_locator volume) : volume_(std::move(volume)) {}

    AVIRT_DECL volume_info operator()(virConnectPtr connection) const;

private:
    volume_locator volume_;
};

} // namespace detail

/// Asynchronously asks for a volume's type and sizes.
///
/// @param conn The connection. It must be open.
/// @param volume The volume.
/// @param token The completion token.
///
/// @par Completion signature
/// `void(error_code, volume_info)`
///
/// @par Errors
/// @li error::not_open: the connection is not open.
/// @li condition::not_found: no such pool or volume.
/// @li std::errc::invalid_argument: the locator identifies no volume.
/// @li condition::connection_lost and libvirt's errors.
///
/// @par Per-operation cancellation
/// As of basic_connection::async_call().
///
/// @par libvirt
/// virStorageVolLookupByName, virStorageVolLookupByPath, virStorageVolLookupByKey, virStorageVolGetInfo,
/// virStorageVolGetInfoFlags.
///
/// @code
/// const auto info = co_await avirt::async_volume_info(conn, {"default", "disk.img"});
/// std::cout << info.allocation << " of " << info.capacity << " bytes\n";
/// @endcode
template <
    class Executor,
    BOOST_ASIO_COMPLETION_TOKEN_FOR(void(error_code, volume_info)) Token = detail::default_token_t<Executor>>
auto async_volume_info(basic_connection<Executor>& conn, volume_locator volume, Token&& token = {})
{
    const detail::volume_info_call ask(std::move(volume));
    return conn.async_call(ask, std::forward<Token>(token));
}

} // namespace avirt
