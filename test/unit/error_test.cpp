// SPDX-License-Identifier: BSL-1.0
#include <avirt/detail/failure.hpp>
#include <avirt/error.hpp>

#include <support/printing.hpp>

#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cerrno>
#include <set>
#include <string>
#include <system_error>

namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using avirt::condition;
using avirt::error;
using avirt::error_code;

virErrorPtr next_error = nullptr;

} // namespace

// libvirt's function, replaced at link time.
virErrorPtr virGetLastError()
{
    return next_error;
}

namespace {

error_code libvirt(int number)
{
    return {number, avirt::libvirt_category()};
}

constexpr error every_error[] = {
    error::event_loop_in_use, error::foreign_event_loop, error::no_event_loop,
    error::not_open,          error::already_open,       error::operation_in_progress,
    error::at_hole,           error::wrong_connection,   error::call_threw,
    error::events_lost,       error::result_unknown,     error::verification_failed};

constexpr condition every_condition[] = {
    condition::connection_lost, condition::console_in_use, condition::console_taken_over,
    condition::guest_gone,      condition::not_found,      condition::denied,
    condition::timed_out,       condition::not_supported,  condition::no_space,
    condition::already_exists,  condition::wrong_state,    condition::busy};

BOOST_AUTO_TEST_SUITE(error_)

BOOST_AUTO_TEST_CASE(each_error_and_condition_has_its_own_message)
{
    std::set<std::string> messages;
    for (auto e : every_error) {
        const error_code ec = e;
        BOOST_TEST(ec.failed());
        BOOST_TEST(&ec.category() == &avirt::avirt_category());
        BOOST_TEST(ec == e);
        BOOST_TEST(!ec.message().empty());
        messages.insert(ec.message());
        char buffer[8];
        BOOST_TEST(ec.message() == avirt::avirt_category().message(ec.value(), buffer, sizeof buffer));
    }
    for (auto c : every_condition) {
        const boost::system::error_condition condition = c;
        BOOST_TEST(!condition.message().empty());
        messages.insert(condition.message());
    }
    BOOST_TEST(messages.size() == std::size(every_error) + std::size(every_condition));
    BOOST_TEST(!error_code(9999, avirt::avirt_category()).message().empty());
    BOOST_TEST(!error_code(9999, avirt::libvirt_category()).message().empty());
    BOOST_TEST(!avirt::condition_category().message(9999).empty());
}

BOOST_AUTO_TEST_CASE(categories_are_distinct)
{
    BOOST_TEST((avirt::avirt_category() != avirt::libvirt_category()));
    BOOST_TEST((avirt::avirt_category() != avirt::condition_category()));
    BOOST_TEST(std::string(avirt::avirt_category().name()) == "avirt");
    BOOST_TEST(std::string(avirt::libvirt_category().name()) == "libvirt");
    BOOST_TEST((error_code(1, avirt::avirt_category()) != libvirt(1)));
}

BOOST_AUTO_TEST_CASE(codes_equal_generic_conditions)
{
    BOOST_TEST(error_code(error::not_open) == errc::not_connected);
    BOOST_TEST(error_code(error::already_open) == errc::already_connected);
    BOOST_TEST(error_code(error::operation_in_progress) == errc::operation_in_progress);
    BOOST_TEST(libvirt(VIR_ERR_INVALID_ARG) == errc::invalid_argument);
    BOOST_TEST(libvirt(VIR_ERR_NO_MEMORY) == errc::not_enough_memory);
    BOOST_TEST(libvirt(VIR_ERR_OPERATION_TIMEOUT) == errc::timed_out);
    BOOST_TEST(libvirt(VIR_ERR_NO_SUPPORT) == errc::not_supported);
    BOOST_TEST(libvirt(VIR_ERR_AUTH_FAILED) == errc::permission_denied);
    BOOST_TEST((libvirt(VIR_ERR_NO_DOMAIN) != errc::make_error_condition(errc::not_supported)));
    // The codes equal the conditions of the standard library as well.
    const std::error_code std_code = error_code(error::not_open);
    BOOST_TEST((std_code == std::errc::not_connected));
}

BOOST_AUTO_TEST_CASE(conditions_of_libvirts_error_numbers)
{
    const auto check = [](condition wanted, std::initializer_list<int> numbers) {
        for (int number : numbers) {
            for (auto c : every_condition) {
                BOOST_TEST_INFO("number " << number);
                BOOST_TEST(((libvirt(number) == c) == (c == wanted)));
            }
        }
    };
    check(
        condition::not_found,
        {VIR_ERR_NO_DOMAIN, VIR_ERR_NO_NETWORK, VIR_ERR_NO_STORAGE_POOL, VIR_ERR_NO_STORAGE_VOL,
         VIR_ERR_NO_NODE_DEVICE, VIR_ERR_NO_INTERFACE, VIR_ERR_NO_SECRET, VIR_ERR_NO_NWFILTER,
         VIR_ERR_NO_NWFILTER_BINDING, VIR_ERR_NO_DOMAIN_SNAPSHOT, VIR_ERR_NO_DOMAIN_CHECKPOINT,
         VIR_ERR_NO_DOMAIN_METADATA, VIR_ERR_NO_DOMAIN_BACKUP, VIR_ERR_NO_NETWORK_PORT,
         VIR_ERR_DEVICE_MISSING});
    check(
        condition::denied,
        {VIR_ERR_AUTH_FAILED, VIR_ERR_AUTH_CANCELLED, VIR_ERR_AUTH_UNAVAILABLE, VIR_ERR_OPERATION_DENIED,
         VIR_ERR_ACCESS_DENIED});
    check(condition::timed_out, {VIR_ERR_OPERATION_TIMEOUT});
    check(
        condition::not_supported,
        {VIR_ERR_NO_SUPPORT, VIR_ERR_OPERATION_UNSUPPORTED, VIR_ERR_CONFIG_UNSUPPORTED,
         VIR_ERR_ARGUMENT_UNSUPPORTED});
    check(
        condition::already_exists,
        {VIR_ERR_DOM_EXIST, VIR_ERR_NETWORK_EXIST, VIR_ERR_STORAGE_VOL_EXIST, VIR_ERR_NETWORK_PORT_EXIST,
         VIR_ERR_STORAGE_POOL_BUILT});
    check(condition::wrong_state, {VIR_ERR_OPERATION_INVALID});
    check(condition::busy, {VIR_ERR_RESOURCE_BUSY, VIR_ERR_BLOCK_COPY_ACTIVE});
    // libvirt uses these for errors of every kind.
    for (int number : {VIR_ERR_INTERNAL_ERROR, VIR_ERR_OPERATION_FAILED}) {
        for (auto c : every_condition)
            BOOST_TEST((libvirt(number) != c));
    }
}

BOOST_AUTO_TEST_CASE(conditions_of_errnos)
{
    const auto system = [](int e) { return error_code(e, boost::system::system_category()); };
    BOOST_TEST(system(ENOSPC) == condition::no_space);
    BOOST_TEST(system(EDQUOT) == condition::no_space);
    BOOST_TEST((system(ENOENT) != condition::not_found)); // It may be the daemon's socket.
    BOOST_TEST(system(EACCES) == condition::denied);
    BOOST_TEST(system(EROFS) == condition::denied);
    BOOST_TEST(system(EPERM) == condition::denied);
    BOOST_TEST(system(ETIMEDOUT) == condition::timed_out);
    BOOST_TEST(system(ENOTSUP) == condition::not_supported);
    BOOST_TEST(system(ECONNRESET) == condition::connection_lost);
    BOOST_TEST(system(EPIPE) == condition::connection_lost);
    BOOST_TEST(system(EEXIST) == condition::already_exists);
    BOOST_TEST(system(EBUSY) == condition::busy);
    BOOST_TEST(error_code(error::result_unknown) == condition::connection_lost);
    for (auto c : every_condition) {
        BOOST_TEST((error_code() != c));
        BOOST_TEST((error_code(asio::error::eof) != c));
        BOOST_TEST((error_code(asio::error::operation_aborted) != c));
    }
}

BOOST_AUTO_TEST_CASE(a_refined_code_equals_the_plain_one)
{
    using avirt::detail::refine;
    const auto refined = refine(libvirt(VIR_ERR_OPERATION_FAILED), condition::console_in_use).code;
    BOOST_TEST(refined == libvirt(VIR_ERR_OPERATION_FAILED));
    BOOST_TEST(refined == condition::console_in_use);
    BOOST_TEST((refined != condition::guest_gone));
    BOOST_TEST((libvirt(VIR_ERR_OPERATION_FAILED) != condition::console_in_use));
    const boost::system::error_condition in_use = condition::console_in_use;
    BOOST_TEST(refined.message() == in_use.message()); // The condition's message says more than the number's.
    const error_code foreign = asio::error::eof;
    BOOST_TEST(refine(foreign, condition::guest_gone).code == asio::error::eof);
    BOOST_TEST(refine(libvirt(VIR_ERR_NO_DOMAIN), condition::guest_gone).code == condition::not_found);
}

BOOST_AUTO_TEST_CASE(each_error_number_of_libvirts_has_a_message)
{
    constexpr int newest_known = 113; // VIR_ERR_AGENT_COMMAND_FAILED, of libvirt 11
    std::set<std::string> messages;
    for (int number = 1; number <= newest_known; ++number) {
        const auto message = libvirt(number).message();
        BOOST_TEST_INFO(message);
        BOOST_TEST_INFO("number " << number);
        BOOST_TEST((message.find_first_of("0123456789") == std::string::npos));
        char buffer[8];
        BOOST_TEST(message == avirt::libvirt_category().message(number, buffer, sizeof buffer));
        messages.insert(message);
    }
    BOOST_TEST(messages.size() == newest_known - 1u); // The two numbers for SSH share a message.
    BOOST_TEST(libvirt(9999).message().find("9999") != std::string::npos);
}

// libvirt's client reports the loss of its own connection just as the daemon reports the loss of one that it
// has.
BOOST_AUTO_TEST_CASE(a_lost_connection_is_recognized_by_the_numbers_and_its_state)
{
    using avirt::detail::with_connection;
    const auto reported = [](int domain, int code, int errno_number = 0) {
        avirt::detail::failure f(libvirt(code));
        f.details.domain = domain;
        f.details.code = code;
        f.details.int1 = errno_number;
        return f;
    };
    for (const auto& f :
         {reported(VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR),
          reported(VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR, ETIMEDOUT), reported(VIR_FROM_LIBSSH, VIR_ERR_LIBSSH),
          reported(VIR_FROM_RPC, VIR_ERR_GNUTLS_ERROR)}) {
        BOOST_TEST(with_connection(f, false).code == condition::connection_lost);
        BOOST_TEST((with_connection(f, true).code != condition::connection_lost));
    }
    BOOST_TEST(
        with_connection(reported(VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR, EIO), true).code == errc::io_error);
    for (const auto& f :
         {reported(VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR),
          reported(VIR_FROM_STREAMS, VIR_ERR_SYSTEM_ERROR, EIO), reported(VIR_FROM_RPC, VIR_ERR_NO_DOMAIN)}) {
        BOOST_TEST(with_connection(f, false).code == f.code);
        BOOST_TEST((with_connection(f, false).code != condition::connection_lost));
    }
    BOOST_TEST(!with_connection({}, false));
}

struct libvirts_error
{
    std::string message = "the sentence";
    std::string str1 = "one";
    std::string str2 = "two";
    std::string str3 = "three";
    virError e{};

    libvirts_error()
    {
        e.code = VIR_ERR_NO_DOMAIN;
        e.domain = VIR_FROM_QEMU;
        e.level = VIR_ERR_ERROR;
        e.message = message.data();
        e.str1 = str1.data();
        e.str2 = str2.data();
        e.str3 = str3.data();
        e.int1 = 11;
        e.int2 = 22;
        next_error = &e;
    }

    ~libvirts_error()
    {
        next_error = nullptr;
    }
};

BOOST_FIXTURE_TEST_CASE(all_details_of_an_error_are_copied, libvirts_error)
{
    const auto f = avirt::detail::last_failure();
    BOOST_TEST(f.code == libvirt(VIR_ERR_NO_DOMAIN));
    BOOST_TEST(f.details.code == int{VIR_ERR_NO_DOMAIN});
    BOOST_TEST(f.details.domain == int{VIR_FROM_QEMU});
    BOOST_TEST(f.details.level == int{VIR_ERR_ERROR});
    BOOST_TEST(f.details.message == "the sentence");
    BOOST_TEST(f.details.str1 == "one");
    BOOST_TEST(f.details.str2 == "two");
    BOOST_TEST(f.details.str3 == "three");
    BOOST_TEST(f.details.int1 == 11);
    BOOST_TEST(f.details.int2 == 22);
}

BOOST_FIXTURE_TEST_CASE(a_system_error_becomes_its_errno, libvirts_error)
{
    e.code = VIR_ERR_SYSTEM_ERROR;
    e.int1 = ENOSPC;
    const auto f = avirt::detail::last_failure();
    BOOST_TEST(f.code == errc::no_space_on_device);
    BOOST_TEST(f.code == condition::no_space);
    BOOST_TEST(f.details.code == int{VIR_ERR_SYSTEM_ERROR});
    e.int1 = 0;
    BOOST_TEST(avirt::detail::last_failure().code == libvirt(VIR_ERR_SYSTEM_ERROR));
}

BOOST_FIXTURE_TEST_CASE(without_a_connection_the_numbers_alone_decide, libvirts_error)
{
    message = "Geschlossen"; // The text does not matter.
    e.domain = VIR_FROM_RPC;
    e.code = VIR_ERR_INTERNAL_ERROR;
    const auto lost = avirt::detail::last_failure();
    BOOST_TEST(lost.code == condition::connection_lost);
    BOOST_TEST(lost.code == libvirt(VIR_ERR_INTERNAL_ERROR));
    BOOST_TEST(lost.code.message() == boost::system::error_condition(condition::connection_lost).message());
    e.code = VIR_ERR_SYSTEM_ERROR;
    e.int1 = EIO;
    BOOST_TEST(avirt::detail::last_failure().code == condition::connection_lost);
    e.domain = VIR_FROM_QEMU;
    e.code = VIR_ERR_INTERNAL_ERROR;
    BOOST_TEST((avirt::detail::last_failure().code != condition::connection_lost));
}

// The result has the number that the errno came with: no errno says as much.
BOOST_FIXTURE_TEST_CASE(a_refined_errno_becomes_libvirts_error_number, libvirts_error)
{
    e.code = VIR_ERR_SYSTEM_ERROR;
    e.int1 = EACCES;
    const auto refined = avirt::detail::refine(avirt::detail::last_failure(), condition::guest_gone);
    BOOST_TEST(refined.code == condition::guest_gone);
    BOOST_TEST(refined.code == libvirt(VIR_ERR_SYSTEM_ERROR));
    BOOST_TEST((refined.code != condition::denied));
}

BOOST_FIXTURE_TEST_CASE(missing_strings_are_empty, libvirts_error)
{
    e.message = e.str1 = e.str2 = e.str3 = nullptr;
    const auto f = avirt::detail::last_failure();
    BOOST_TEST(f.details.message.empty());
    BOOST_TEST(f.details.str1.empty());
}

BOOST_FIXTURE_TEST_CASE(a_failure_without_an_error_of_libvirts_is_still_a_failure, libvirts_error)
{
    e.code = VIR_ERR_OK;
    BOOST_TEST(avirt::detail::last_failure().code.failed());
    next_error = nullptr;
    BOOST_TEST(avirt::detail::last_failure().code.failed());
}

BOOST_FIXTURE_TEST_CASE(throw_last_error_throws_the_code_and_the_details, libvirts_error)
{
    BOOST_CHECK_EXCEPTION(avirt::throw_last_error(), avirt::exception, [](const avirt::exception& x) {
        return x.code() == condition::not_found && x.details().str3 == "three"
            && std::string(x.what()) == "the sentence [libvirt:42]";
    });
    BOOST_CHECK_THROW(avirt::throw_last_error(), boost::system::system_error);
}

BOOST_AUTO_TEST_CASE(an_exception_without_a_message)
{
    const avirt::exception x(error::not_open, {});
    BOOST_TEST(std::string(x.what()).find("not open") != std::string::npos);
    const avirt::exception copy = x;
    BOOST_TEST(copy.code() == error::not_open);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
