// SPDX-License-Identifier: BSL-1.0
#include <avirt/to_string.hpp>

#include <boost/test/unit_test.hpp>

#include <string_view>

namespace {

using avirt::to_string;

BOOST_AUTO_TEST_SUITE(to_string_)

BOOST_AUTO_TEST_CASE(states_and_their_reasons)
{
    BOOST_TEST(to_string(VIR_DOMAIN_RUNNING) == "running");
    BOOST_TEST(to_string(VIR_DOMAIN_SHUTOFF) == "shut off");
    BOOST_TEST(to_string(VIR_DOMAIN_PMSUSPENDED) == "pm-suspended");
    BOOST_TEST(to_string(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED) == "booted");
    BOOST_TEST(to_string(VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY_FAILED) == "post-copy failed");
    BOOST_TEST(to_string(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR) == "I/O error");
    BOOST_TEST(to_string(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED) == "post-copy failed");
    BOOST_TEST(to_string(VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER) == "user");
    BOOST_TEST(to_string(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED) == "destroyed");
    BOOST_TEST(to_string(VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DAEMON) == "daemon");
    BOOST_TEST(to_string(VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED) == "panicked");
}

BOOST_AUTO_TEST_CASE(events_and_their_details)
{
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_DEFINED) == "defined");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_CRASHED) == "crashed");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_RENAMED) == "renamed");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_REMOVED) == "removed");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_WAKEUP) == "woken up");
    BOOST_TEST(
        to_string(VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED)
        == "post-copy failed");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED) == "unpaused");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED) == "crashed");
    BOOST_TEST(
        to_string(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT)
        == "reverted to snapshot");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_HOST) == "by the host");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_PMSUSPENDED, VIR_DOMAIN_EVENT_PMSUSPENDED_DISK) == "disk");
    BOOST_TEST(to_string(VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_CRASHLOADED) == "crash loaded");
}

BOOST_AUTO_TEST_CASE(values_that_are_not_known)
{
    for (const int value : {-1, 100}) {
        BOOST_TEST(to_string(virDomainState(value)) == "unknown");
        BOOST_TEST(to_string(virDomainState(value), 0) == "unknown");
        BOOST_TEST(to_string(VIR_DOMAIN_RUNNING, value) == "unknown");
        BOOST_TEST(to_string(virDomainEventType(value)) == "unknown");
        BOOST_TEST(to_string(virDomainEventType(value), 0) == "unknown");
        BOOST_TEST(to_string(VIR_DOMAIN_EVENT_STARTED, value) == "unknown");
    }
    BOOST_TEST(to_string(VIR_DOMAIN_BLOCKED, VIR_DOMAIN_BLOCKED_UNKNOWN) == "unknown");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
