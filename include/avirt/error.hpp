// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/system/error_category.hpp>
#include <boost/system/error_condition.hpp>
#include <boost/system/system_error.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <string>
#include <type_traits>

namespace avirt {

/// Errors that avirt itself reports. Their category is avirt_category().
enum class error {
    event_loop_in_use = 1, ///< Another event_loop is bound.
    foreign_event_loop,    ///< libvirt has an event implementation that is not avirt's.
    no_event_loop,         ///< The operation needs a bound event_loop.
    not_open,              ///< The object is not open.
    already_open,          ///< The object is open already.
    operation_in_progress, ///< A second read, write, open, ... while one is outstanding.
    at_hole,               ///< A read stopped at a hole: async_read_hole() comes next.
    wrong_connection,      ///< An opener used an object of another connection.
    call_threw,            ///< A function of the application threw an exception without an error code.
    events_lost,           ///< A queue of events or reports overflowed.
    result_unknown, ///< The connection was lost while a finish was under way; libvirt gave no other reason.
    output_lost,    ///< A console_view has fallen behind: lost() says by how many bytes. Reading goes on.
    console_state_changed, ///< A console_view has read what came before: state() follows. Reading goes on.
    not_attached,          ///< A console_session has no console to write to at present.
    verification_failed,   ///< A volume and a file that were transferred differ.
};

/// Conditions for comparison with the error_code of any operation, regardless of the part of libvirt or avirt
/// that reported the error.
///
/// @code
/// if (ec == avirt::condition::console_in_use)
///     std::cerr << "someone else is attached\n";
/// @endcode
enum class condition {
    connection_lost = 1, ///< The daemon, or the way to it, is gone.
    console_in_use,      ///< Another session has the console.
    console_taken_over,  ///< Another session took the console over.
    guest_gone,          ///< The domain stopped or was destroyed.
    not_found,           ///< No such domain, volume, device, ...
    denied,              ///< Authentication or authorisation failed.
    timed_out,           ///< A time limit expired.
    not_supported,       ///< The driver, or the device, cannot do this.
    no_space,            ///< The storage is full.
    already_exists,      ///< The name, UUID, ... is already taken.
    wrong_state,         ///< The object is not in the required state; also if the guest is gone.
    busy,                ///< A lock, a job or a pool is busy: a later attempt may succeed.
};

/// The category of avirt::error.
AVIRT_DECL const boost::system::error_category& avirt_category() noexcept;

/// The category of libvirt's own errors. The value is the virErrorNumber. The message explains the number, or
/// says what avirt knows more precisely. libvirt's message about a particular failure is in its details.
///
/// A libvirt error that wraps an errno (VIR_ERR_SYSTEM_ERROR) is reported in the system category.
AVIRT_DECL const boost::system::error_category& libvirt_category() noexcept;

/// The category of avirt::condition.
AVIRT_DECL const boost::system::error_category& condition_category() noexcept;

inline error_code make_error_code(error e) noexcept
{
    return {static_cast<int>(e), avirt_category()};
}

inline boost::system::error_condition make_error_condition(condition c) noexcept
{
    return {static_cast<int>(c), condition_category()};
}

/// Everything that a virError contains. with_details() fills it.
///
/// libvirt/virterror.h, which this header includes, defines the values of domain, code and level.
struct error_details
{
    int domain = 0;        ///< virErrorDomain: the part of libvirt that failed.
    int code = 0;          ///< virErrorNumber: VIR_ERR_NO_DOMAIN, ...
    int level = 0;         ///< virErrorLevel.
    std::string message{}; ///< libvirt's message about this failure.
    std::string str1{};
    std::string str2{};
    std::string str3{};
    int int1 = 0; ///< The errno, if code is VIR_ERR_SYSTEM_ERROR.
    int int2 = 0;
};

/// A system_error that carries the details. what() contains libvirt's own message and the error code.
class AVIRT_DECL exception : public boost::system::system_error
{
public:
    exception(error_code code, error_details details);

    const char* what() const noexcept override
    {
        return what_.empty() ? system_error::what() : what_.c_str();
    }

    const error_details& details() const noexcept
    {
        return details_;
    }

private:
    error_details details_;
    std::string what_; // empty: the code's
};

/// Throws libvirt's last error of the calling thread as an avirt::exception.
///
/// It is meant for functions given to basic_connection::async_call() whose result cannot express failure
/// (void, unsigned).
///
/// @par libvirt
/// virGetLastError.
///
/// @code
/// co_await conn.async_call([](virConnectPtr c) {
///     if (virDomainListGetStats(...) < 0)
///         avirt::throw_last_error();
/// });
/// @endcode
[[noreturn]] AVIRT_DECL void throw_last_error();

} // namespace avirt

template <>
struct boost::system::is_error_code_enum<avirt::error> : std::true_type
{
};

template <>
struct boost::system::is_error_condition_enum<avirt::condition> : std::true_type
{
};

#include <avirt/with_details.hpp>
