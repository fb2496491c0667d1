// SPDX-License-Identifier: BSL-1.0
#include "core/error_conditions.hpp"

#include "core/newer_errors.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <cerrno>

namespace avirt::detail {
namespace {

using boost::system::error_condition;
namespace errc = boost::system::errc;

} // namespace

std::optional<condition> condition_of(int number) noexcept
{
    switch (number) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_STORAGE_VOL:
    case VIR_ERR_NO_NODE_DEVICE:
    case VIR_ERR_NO_INTERFACE:
    case VIR_ERR_NO_SECRET:
    case VIR_ERR_NO_NWFILTER:
    case VIR_ERR_NO_NWFILTER_BINDING:
    case VIR_ERR_NO_DOMAIN_SNAPSHOT:
    case VIR_ERR_NO_DOMAIN_CHECKPOINT:
    case VIR_ERR_NO_DOMAIN_METADATA:
    case VIR_ERR_NO_DOMAIN_BACKUP:
    case VIR_ERR_NO_NETWORK_PORT:
    case VIR_ERR_NO_SERVER:
    case VIR_ERR_NO_CLIENT:
    case VIR_ERR_DEVICE_MISSING:
    case no_network_metadata:
        return condition::not_found;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_OPERATION_DENIED:
    case VIR_ERR_ACCESS_DENIED:
        return condition::denied;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE:
    case agent_command_timeout:
        return condition::timed_out;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
        return condition::not_supported;
    case VIR_ERR_DOM_EXIST:
    case VIR_ERR_NETWORK_EXIST:
    case VIR_ERR_STORAGE_VOL_EXIST:
    case VIR_ERR_NETWORK_PORT_EXIST:
    case VIR_ERR_STORAGE_POOL_BUILT:
        return condition::already_exists;
    case VIR_ERR_OPERATION_INVALID:
        return condition::wrong_state;
    case VIR_ERR_RESOURCE_BUSY:
    case VIR_ERR_BLOCK_COPY_ACTIVE:
        return condition::busy;
    default:
        return {};
    }
}

bool means(const error_code& code, condition c) noexcept
{
    // Compared as conditions, so that the code may come from any category.
    const auto is = [&](errc::errc_t e) { return code == errc::make_error_condition(e); };
    switch (c) {
    case condition::connection_lost:
        return code == asio::error::connection_reset || code == asio::error::connection_aborted
            || code == asio::error::broken_pipe || code == make_error_code(error::result_unknown);
    case condition::denied:
        return is(errc::permission_denied) || is(errc::operation_not_permitted)
            || is(errc::read_only_file_system);
    case condition::timed_out:
        return is(errc::timed_out);
    case condition::not_supported:
        return is(errc::not_supported) || is(errc::operation_not_supported);
    case condition::no_space:
        return is(errc::no_space_on_device) || code == error_code(EDQUOT, boost::system::system_category());
    case condition::already_exists:
        return is(errc::file_exists);
    case condition::busy:
        return is(errc::device_or_resource_busy);
    default:
        return false;
    }
}

std::optional<error_condition> system_condition_of(error e) noexcept
{
    switch (e) {
    case error::not_open:
        return errc::make_error_condition(errc::not_connected);
    case error::already_open:
        return errc::make_error_condition(errc::already_connected);
    case error::operation_in_progress:
        return errc::make_error_condition(errc::operation_in_progress);
    default:
        return std::nullopt;
    }
}

std::optional<error_condition> system_condition_of_libvirt(int number) noexcept
{
    switch (number) {
    case VIR_ERR_NO_MEMORY:
        return errc::make_error_condition(errc::not_enough_memory);
    case VIR_ERR_INVALID_ARG:
        return errc::make_error_condition(errc::invalid_argument);
    case VIR_ERR_OPERATION_ABORTED:
        return errc::make_error_condition(errc::operation_canceled);
    default:
        break;
    }
    switch (condition_of(number).value_or(condition{})) {
    case condition::denied:
        return errc::make_error_condition(errc::permission_denied);
    case condition::timed_out:
        return errc::make_error_condition(errc::timed_out);
    case condition::not_supported:
        return errc::make_error_condition(errc::not_supported);
    case condition::already_exists:
        return errc::make_error_condition(errc::file_exists);
    case condition::busy:
        return errc::make_error_condition(errc::device_or_resource_busy);
    default:
        return std::nullopt;
    }
}

} // namespace avirt::detail
