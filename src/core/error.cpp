// SPDX-License-Identifier: BSL-1.0
#include <avirt/error.hpp>

#include "core/error_messages.hpp"

#include <avirt/detail/failure.hpp>

#include <boost/asio/error.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>

namespace avirt {
namespace {

using boost::system::error_category;
using boost::system::error_condition;
namespace errc = boost::system::errc;

constexpr boost::ulong_long_type avirt_id = 0x6176697274657272;
constexpr boost::ulong_long_type libvirt_id = 0x6176697274766972;
constexpr boost::ulong_long_type condition_id = 0x6176697274636f6e;

class avirt_category_impl final : public error_category
{
public:
    constexpr avirt_category_impl() noexcept : error_category(avirt_id) {}

    const char* name() const noexcept override
    {
        return "avirt";
    }

    const char* message(int value, char*, std::size_t) const noexcept override
    {
        if (const char* sentence = detail::sentence_for(static_cast<error>(value)))
            return sentence;
        return "unknown avirt error";
    }

    std::string message(int value) const override
    {
        return message(value, nullptr, 0);
    }

    error_condition default_error_condition(int value) const noexcept override
    {
        switch (static_cast<error>(value)) {
        case error::not_open:
            return errc::make_error_condition(errc::not_connected);
        case error::already_open:
            return errc::make_error_condition(errc::already_connected);
        case error::operation_in_progress:
            return errc::make_error_condition(errc::operation_in_progress);
        default:
            return {value, *this};
        }
    }
};

class condition_category_impl final : public error_category
{
public:
    constexpr condition_category_impl() noexcept : error_category(condition_id) {}

    const char* name() const noexcept override
    {
        return "avirt.condition";
    }

    const char* message(int value, char*, std::size_t) const noexcept override
    {
        if (const char* sentence = detail::sentence_for(static_cast<condition>(value)))
            return sentence;
        return "unknown avirt condition";
    }

    std::string message(int value) const override
    {
        return message(value, nullptr, 0);
    }

    bool equivalent(const error_code& code, int value) const noexcept override
    {
        // By number: these mean the same whoever reports them.
        const auto is = [&](errc::errc_t e) { return code == errc::make_error_condition(e); };
        switch (static_cast<condition>(value)) {
        case condition::connection_lost:
            return code == asio::error::connection_reset || code == asio::error::connection_aborted
                || code == asio::error::broken_pipe || code == make_error_code(error::result_unknown);
        case condition::denied:
            return is(errc::permission_denied) || is(errc::operation_not_permitted);
        case condition::timed_out:
            return is(errc::timed_out);
        case condition::not_supported:
            return is(errc::not_supported) || is(errc::operation_not_supported);
        case condition::no_space:
            return is(errc::no_space_on_device);
        case condition::already_exists:
            return is(errc::file_exists);
        case condition::busy:
            return is(errc::device_or_resource_busy);
        default:
            return false;
        }
    }
};

// Of newer libvirts than the oldest that this builds with.
constexpr int no_network_metadata = 111;
constexpr int agent_command_timeout = 112;

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

/// One category with several objects: they share the id, so that their codes compare equal, and differ
/// in the condition that is known beyond the number. libvirt uses some numbers for everything
/// (VIR_ERR_OPERATION_FAILED, VIR_ERR_INTERNAL_ERROR); where the operation tells which case it is, the
/// code carries the object that says so.
class libvirt_category_impl final : public error_category
{
public:
    constexpr libvirt_category_impl() noexcept : error_category(libvirt_id) {}

    explicit constexpr libvirt_category_impl(condition c) noexcept
        : error_category(libvirt_id),
          refined_(c),
          is_refined_(true)
    {
    }

    const char* name() const noexcept override
    {
        return "libvirt";
    }

    const char* message(int value, char* buffer, std::size_t size) const noexcept override
    {
        const char* sentence =
            is_refined_ ? detail::sentence_for(refined_) : detail::sentence_for_libvirt(value);
        if (sentence)
            return sentence;
        std::snprintf(buffer, size, "libvirt reports error %d, which is newer than this avirt", value);
        return buffer;
    }

    std::string message(int value) const override
    {
        char buffer[80];
        return message(value, buffer, sizeof buffer);
    }

    bool equivalent(int value, const error_condition& c) const noexcept override
    {
        if (c.category() != condition_category())
            return error_category::equivalent(value, c);
        const auto wanted = static_cast<condition>(c.value());
        return (is_refined_ && refined_ == wanted) || condition_of(value) == wanted;
    }

    error_condition default_error_condition(int value) const noexcept override
    {
        switch (value) {
        case VIR_ERR_NO_MEMORY:
            return errc::make_error_condition(errc::not_enough_memory);
        case VIR_ERR_INVALID_ARG:
            return errc::make_error_condition(errc::invalid_argument);
        case VIR_ERR_OPERATION_ABORTED:
            return errc::make_error_condition(errc::operation_canceled);
        default:
            break;
        }
        switch (condition_of(value).value_or(condition{})) {
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
            return {value, *this};
        }
    }

private:
    condition refined_{};
    bool is_refined_ = false;
};

// Codes are kept and compared while the process ends: a category must outlive every other object.
template <class T, class... Args>
const T& immortal(Args... args) noexcept
{
    static const T& object = *new T(args...);
    return object;
}

const error_category& refined_category(condition c) noexcept
{
    static const auto& in_use = *new libvirt_category_impl(condition::console_in_use);
    static const auto& taken_over = *new libvirt_category_impl(condition::console_taken_over);
    static const auto& guest_gone = *new libvirt_category_impl(condition::guest_gone);
    static const auto& lost = *new libvirt_category_impl(condition::connection_lost);
    static const auto& not_found = *new libvirt_category_impl(condition::not_found);
    static const auto& not_supported = *new libvirt_category_impl(condition::not_supported);
    switch (c) {
    case condition::console_in_use:
        return in_use;
    case condition::console_taken_over:
        return taken_over;
    case condition::guest_gone:
        return guest_gone;
    case condition::connection_lost:
        return lost;
    case condition::not_found:
        return not_found;
    case condition::not_supported:
        return not_supported;
    default:
        return libvirt_category();
    }
}

/// libvirt's own client says so of its connection to the daemon, and a daemon of its connections to others:
/// there is no number for that, and messages are translated (docs/libvirt.md, "Errors").
bool is_of_rpc(const error_details& d) noexcept
{
    return d.domain == VIR_FROM_RPC && (d.code == VIR_ERR_INTERNAL_ERROR || d.code == VIR_ERR_SYSTEM_ERROR);
}

error_code code_of(const error_details& d) noexcept
{
    if (d.code == VIR_ERR_SYSTEM_ERROR && d.int1 > 0)
        return {d.int1, boost::system::system_category()};
    return {d.code, libvirt_category()};
}

error_code code_of_lost(const error_details& d) noexcept
{
    return {d.code, refined_category(condition::connection_lost)};
}

std::string text(const char* s)
{
    return s ? s : "";
}

} // namespace

const error_category& avirt_category() noexcept
{
    return immortal<avirt_category_impl>();
}

const error_category& libvirt_category() noexcept
{
    return immortal<libvirt_category_impl>();
}

const error_category& condition_category() noexcept
{
    return immortal<condition_category_impl>();
}

exception::exception(error_code code, error_details details)
    : boost::system::system_error(code),
      details_(std::move(details))
{
    if (!details_.message.empty())
        what_ = details_.message + " [" + code.to_string() + "]";
}

void throw_last_error()
{
    auto f = detail::last_failure();
    throw exception(f.code, std::move(f.details));
}

namespace detail {

failure last_failure()
{
    const virError* e = virGetLastError();
    if (!e || e->code == VIR_ERR_OK) {
        // Some paths of libvirt fail without setting an error.
        error_details d;
        d.code = VIR_ERR_INTERNAL_ERROR;
        d.message = "libvirt failed without saying why";
        return {error_code(VIR_ERR_INTERNAL_ERROR, libvirt_category()), std::move(d)};
    }
    error_details d;
    d.domain = e->domain;
    d.code = e->code;
    d.level = e->level;
    d.message = text(e->message);
    d.str1 = text(e->str1);
    d.str2 = text(e->str2);
    d.str3 = text(e->str3);
    d.int1 = e->int1;
    d.int2 = e->int2;
    // Whether the connection lives is not known here. The end of its socket is an EIO.
    const bool is_lost = is_of_rpc(d) && (d.code == VIR_ERR_INTERNAL_ERROR || d.int1 == EIO);
    return {is_lost ? code_of_lost(d) : code_of(d), std::move(d)};
}

failure current_failure()
{
    const auto with_text = [](error_code code, const char* what) {
        error_details d;
        d.message = what;
        return failure(code, std::move(d));
    };
    try {
        throw;
    }
    catch (const exception& e) {
        return {e.code(), e.details()};
    }
    catch (const boost::system::system_error& e) {
        return with_text(e.code(), e.what());
    }
    catch (const std::system_error& e) {
        return with_text(error_code(e.code()), e.what());
    }
    catch (const std::exception& e) {
        return with_text(error::call_threw, e.what());
    }
    catch (...) {
        return with_text(error::call_threw, "an exception that is not a std::exception");
    }
}

bool concerns_connection(const error_details& d) noexcept
{
    return is_of_rpc(d) || d.code == VIR_ERR_SSH || d.code == VIR_ERR_LIBSSH
        || d.code == VIR_ERR_GNUTLS_ERROR;
}

failure with_connection(failure f, bool is_alive)
{
    if (f && concerns_connection(f.details))
        f.code = is_alive ? code_of(f.details) : code_of_lost(f.details);
    return f;
}

failure describe_failure(int domain, const char* message, condition c)
{
    failure f(error_code(VIR_ERR_INTERNAL_ERROR, libvirt_category()));
    f.details.domain = domain;
    f.details.code = f.code.value();
    f.details.message = message;
    return refine(std::move(f), c);
}

failure refine(failure f, condition c)
{
    const bool is_errno = f.details.code == VIR_ERR_SYSTEM_ERROR; // of libvirt's
    if (is_errno || f.code.category() == libvirt_category())
        f.code.assign(is_errno ? f.details.code : f.code.value(), refined_category(c));
    return f;
}

} // namespace detail
} // namespace avirt
