// SPDX-License-Identifier: BSL-1.0

// Tests console sessions with real guests of a private libvirtd.

#include "console_viewer.hpp"
#include "host/console_run.hpp"
#include "session_fixture.hpp"

#include <avirt/avirt.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using avirt::console_session;
using avirt::console_session_options;
using avirt::console_state;
using avirt::console_view_options;
using avirt::error;
using avirt::detail::console_run_opener;

const std::string greeting = "avirt demo guest: type, and it comes back\r\n";

} // namespace

BOOST_FIXTURE_TEST_SUITE(console_session_, session_fixture)

BOOST_AUTO_TEST_CASE(what_is_typed_is_echoed_to_every_view)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    console_viewer one(session), two(session);
    BOOST_TEST(write(session, "hello\r") == error_code());
    run_until([&] { return one.has("hello\r\n") && two.has("hello\r\n"); });
    BOOST_TEST(one.text() == two.text());
    BOOST_TEST(one.offset() == session.end_offset());
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_CASE(single_keys_are_sent_in_order)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    check_echo(session);
    console_viewer viewer(session);
    std::string typed;
    for (int i = 0; i < 500; ++i)
        typed += std::to_string(i);
    for (const char key : typed) {
        outcome written;
        session.async_write_some(asio::buffer(&key, 1), written.handler());
        run_until_done(written);
        BOOST_TEST(written.bytes() == 1U);
    }
    run_until([&] { return viewer.text().size() == typed.size(); });
    BOOST_TEST(viewer.text() == typed);
}

BOOST_AUTO_TEST_CASE(a_view_of_everything_begins_with_what_was_kept_and_tells_the_states)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    check_echo(session);
    console_viewer late(session, console_view_options::everything);
    run_until([&] { return late.has("hello\r\n"); });
    const std::vector expected{console_state::opening, console_state::attached};
    BOOST_TEST(late.states() == expected, boost::test_tools::per_element());
    console_viewer from_an_offset(session, session.end_offset() - 2);
    run_until([&] { return from_an_offset.text() == "\r\n"; });
}

BOOST_AUTO_TEST_CASE(a_guest_that_is_started_by_the_session_is_heard_from_the_first_byte_on)
{
    define("boot", avirt_flood_guest);
    console_session session{host, avirt::console{"boot"}};
    reach(session, console_state::off);
    console_viewer viewer(session);
    BOOST_TEST(start(session) == error_code());
    run_until([&] { return viewer.text().size() > 64; });
    BOOST_TEST(viewer.text().starts_with("flood 00000000 "));
    BOOST_TEST(start(session) == avirt::condition::wrong_state); // It runs.
    destroy("boot");
    reach(session, console_state::off);
}

BOOST_AUTO_TEST_CASE(a_start_that_is_cancelled_leaves_no_paused_guest)
{
    define("cancelled", avirt_demo_guest);
    for (const bool waits_for_libvirt : {true, false}) {
        console_session session{host, avirt::console{"cancelled"}};
        reach(session, console_state::off);
        asio::cancellation_signal signal;
        outcome started;
        session.async_start(asio::bind_cancellation_slot(signal.slot(), started.handler()));
        if (waits_for_libvirt)
            run_until([&] { return loop.stats().running_calls > 0; });
        else
            run_until([&] { return session.state() == console_state::opening; });
        signal.emit(asio::cancellation_type::partial);
        run_until_done(started);
        BOOST_TEST(started.ec() == aborted);
        reach(session, console_state::off);
        run_until([&] { return state_of("cancelled") == VIR_DOMAIN_SHUTOFF; });
    }
}

BOOST_AUTO_TEST_CASE(a_start_fails_if_the_console_cannot_be_opened_and_leaves_no_paused_guest)
{
    define("no such device", avirt_demo_guest);
    console_session session{host, avirt::console{"no such device", "serial7"}};
    reach(session, console_state::off);
    BOOST_TEST(start(session) == error::not_attached);
    BOOST_TEST(!session.reason().message.empty());
    run_until([&] { return state_of("no such device") == VIR_DOMAIN_SHUTOFF; });
}

BOOST_AUTO_TEST_CASE(a_guest_that_is_restarted_is_attached_again)
{
    start_guest("restarted", avirt_demo_guest);
    console_session session{host, avirt::console{"restarted"}};
    reach(session, console_state::attached);
    console_viewer viewer(session);
    for (int i = 0; i < 3; ++i) {
        viewer.forget();
        destroy("restarted");
        reach(session, console_state::off);
        BOOST_TEST(write(session, "x") == error::not_attached);
        start_guest("restarted", avirt_demo_guest);
        reach(session, console_state::attached);
        check_echo(session);
        run_until([&] { return viewer.has("hello\r\n"); });
        BOOST_TEST(viewer.states().front() == console_state::off);
        BOOST_TEST(viewer.states().back() == console_state::attached);
        BOOST_TEST(std::ranges::count(viewer.states(), console_state::off) == 1);
    }
    BOOST_TEST(viewer.lost() == 0U);
}

BOOST_AUTO_TEST_CASE(a_guest_that_is_saved_and_restored_is_attached_again)
{
    start_guest("saved", avirt_demo_guest);
    console_session session{host, avirt::console{"saved"}};
    reach(session, console_state::attached);
    check_echo(session, "before");
    console_viewer viewer(session);
    const std::string file = daemon.directory() / "saved.image";
    on_guest("saved", [=](virDomainPtr d) { return virDomainSave(d, file.c_str()); });
    reach(session, console_state::off);
    BOOST_TEST(write(session, "x") == error::not_attached);
    call([=](virConnectPtr c) {
        if (virDomainRestore(c, file.c_str()) < 0)
            avirt::throw_last_error();
    });
    reach(session, console_state::attached);
    check_echo(session, "after");
    run_until([&] { return viewer.has("after\r\n"); });
    BOOST_TEST(viewer.lost() == 0U);
    BOOST_TEST(!viewer.has("before")); // It goes on, and does not boot again.
    destroy("saved");
}

BOOST_AUTO_TEST_CASE(each_device_of_a_guest_has_its_session)
{
    call([xml = daemon.guest_xml("two", avirt_demo_guest)](virConnectPtr c) {
        const std::string_view port = "<serial type='pty'/>";
        auto of_two = xml;
        of_two.insert(xml.find(port), port);
        const avirt::domain guest{virDomainCreateXML(c, of_two.c_str(), 0)};
        if (!guest)
            avirt::throw_last_error();
    });
    console_session first{host, avirt::console{"two"}}, second{host, avirt::console{"two", "serial1"}};
    reach(first, console_state::attached);
    reach(second, console_state::attached);
    const console_viewer silent(second);
    check_echo(first);
    BOOST_TEST(silent.text().empty()); // The guest uses its first port only.
    // Another session takes over the second console.
    avirt::console forced{"two", "serial1"};
    forced.flags = VIR_DOMAIN_CONSOLE_FORCE;
    open_stream(forced);
    reach(second, console_state::taken_over);
    check_echo(first);
    BOOST_TEST(first.state() == console_state::attached);
    destroy("two");
    reach(first, console_state::off);
    reach(second, console_state::off);
}

BOOST_AUTO_TEST_CASE(the_last_words_of_a_guest_that_is_switched_off_are_heard)
{
    start_guest("goodbye", avirt_demo_guest);
    console_session session{host, avirt::console{"goodbye"}};
    reach(session, console_state::attached);
    console_viewer viewer(session);
    check_echo(session);
    BOOST_TEST(write(session, "\x04") == error_code());
    reach(session, console_state::off);
    run_until([&] { return viewer.has_seen(console_state::off); });
    BOOST_TEST(viewer.has("bye"));
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_CASE(a_paused_guest_is_told)
{
    start_guest("paused", avirt_demo_guest);
    console_session session{host, avirt::console{"paused"}};
    reach(session, console_state::attached);
    on_guest("paused", &virDomainSuspend);
    reach(session, console_state::paused);
    on_guest("paused", &virDomainResume);
    reach(session, console_state::attached);
    check_echo(session);
}

BOOST_AUTO_TEST_CASE(a_paused_guest_at_which_much_is_typed_stalls_and_costs_nothing)
{
    start_guest("stalled", avirt_demo_guest);
    console_session session{host, avirt::console{"stalled"}};
    reach(session, console_state::attached);
    check_echo(session);
    on_guest("stalled", &virDomainSuspend);
    reach(session, console_state::paused);
    console_viewer viewer(session);
    const std::string much(1'000'000, 'x');
    outcome written;
    asio::async_write(session, asio::buffer(much), written.handler());
    reach(session, console_state::stalled);
    BOOST_TEST(written.calls() == 0);
    // Another session of the host is not affected.
    start_guest("echo", avirt_demo_guest);
    console_session other{host, avirt::console{"echo"}};
    reach(other, console_state::attached);
    check_echo(other);
    on_guest("stalled", &virDomainResume);
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    // Not all of the echo comes: QEMU drops what a guest prints while the terminal is full.
    run_until([&] { return viewer.text().size() > 100'000; });
    BOOST_TEST(session.unknown_input() == 0U);
    BOOST_TEST(session.state() == console_state::attached);
}

BOOST_AUTO_TEST_CASE(input_that_a_guest_did_not_take_before_it_ended_is_counted)
{
    start_guest("deaf", avirt_demo_guest);
    console_session session{host, avirt::console{"deaf"}};
    reach(session, console_state::attached);
    check_echo(session);
    on_guest("deaf", &virDomainSuspend);
    reach(session, console_state::paused);
    const std::string much(1'000'000, 'x');
    outcome written;
    asio::async_write(session, asio::buffer(much), written.handler());
    reach(session, console_state::stalled);
    destroy("deaf");
    run_until_done(written);
    BOOST_TEST(written.ec() == error::not_attached);
    BOOST_TEST(session.unknown_input() == written.bytes());
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_CASE(a_console_that_somebody_else_has_is_waited_for)
{
    start_guest("busy", avirt_demo_guest);
    open_stream(console("busy"));
    console_session session{host, avirt::console{"busy"}};
    reach(session, console_state::unavailable);
    BOOST_TEST(!session.reason().message.empty());
    BOOST_TEST(finish() == error_code());
    reach(session, console_state::attached);
    check_echo(session);
}

BOOST_AUTO_TEST_CASE(a_session_whose_console_is_taken_over_does_not_fight)
{
    start_guest("wanted", avirt_demo_guest);
    console_session session{host, avirt::console{"wanted"}, {.force = true}};
    reach(session, console_state::attached);
    open_stream(console("wanted", VIR_DOMAIN_CONSOLE_FORCE));
    reach(session, console_state::taken_over);
    BOOST_TEST(write(session, "x") == error::not_attached);
    remote_fixture::check_echo();
    session.take_over();
    reach(session, console_state::attached);
    check_echo(session);
    BOOST_TEST(session.state() == console_state::attached);
}

BOOST_AUTO_TEST_CASE(a_session_gets_its_console_back_when_it_is_free)
{
    start_guest("given back", avirt_demo_guest);
    console_session session{host, avirt::console{"given back"}};
    reach(session, console_state::attached);
    console_viewer viewer(session);
    open_stream(console("given back", VIR_DOMAIN_CONSOLE_FORCE));
    reach(session, console_state::taken_over);
    BOOST_TEST(finish() == error_code());
    reach(session, console_state::attached);
    run_until([&] { return viewer.has_seen(console_state::attached); });
    const std::vector expected{console_state::taken_over, console_state::attached};
    BOOST_TEST(
        viewer.states() == expected,
        boost::test_tools::per_element()); // The attempts in between are not told.
}

BOOST_AUTO_TEST_CASE(a_session_of_no_guest_is_off_and_one_of_no_device_unavailable)
{
    console_session nobody{host, avirt::console{"nobody"}};
    reach(nobody, console_state::off);
    BOOST_TEST(nobody.reason().code == VIR_ERR_NO_DOMAIN);
    start_guest("echo", avirt_demo_guest);
    console_session no_device{host, avirt::console{"echo", "serial7"}};
    reach(no_device, console_state::unavailable);
    BOOST_TEST(no_device.reason().message.find("serial7") != std::string::npos);
}

// As long as libvirt has not noticed that a guest has ended, the path of its terminal may be another guest's.
BOOST_AUTO_TEST_CASE(a_console_of_a_run_that_has_ended_is_not_opened)
{
    start_guest("echo", avirt_demo_guest);
    int run = 0;
    on_guest("echo", [&](virDomainPtr d) { return run = static_cast<int>(virDomainGetID(d)); });
    for (const int ended_run : {run, run - 1}) {
        const auto opener = std::make_shared<console_run_opener>(avirt::console{"echo"}, ended_run);
        outcome opened;
        stream.async_open(
            conn,
            [opener](virConnectPtr c, virStreamPtr s) {
                if (const auto f = opener->open(c, s))
                    throw avirt::exception(f.code, f.details);
                return 0;
            },
            opened.handler());
        run_until_done(opened);
        BOOST_TEST((opened.ec() == avirt::condition::guest_gone) == (ended_run == run));
        BOOST_TEST(opener->run() == (ended_run == run ? console_run_opener::no_run : run));
    }
}

BOOST_AUTO_TEST_CASE(a_session_of_a_uuid)
{
    start_guest("echo", avirt_demo_guest);
    char uuid[VIR_UUID_STRING_BUFLEN] = {};
    on_guest("echo", [&](virDomainPtr d) { return virDomainGetUUIDString(d, uuid); });
    console_session session{host, avirt::console{uuid}};
    reach(session, console_state::attached);
    check_echo(session);
}

BOOST_AUTO_TEST_CASE(a_session_on_demand_is_open_only_while_it_is_needed)
{
    start_guest("demanded", avirt_demo_guest);
    console_session session{host, avirt::console{"demanded"}, {.on_demand = true}};
    reach(session, console_state::off);
    {
        console_viewer viewer(session);
        reach(session, console_state::attached);
    }
    reach(session, console_state::off);
    open_stream(console("demanded")); // It is free.
    BOOST_TEST(finish() == error_code());
    BOOST_TEST(write(session, "unseen\r") == error_code()); // Opens the console, and leaves it again.
    reach(session, console_state::off);
    check_echo(session);
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_CASE(a_console_on_demand_is_left_although_the_guest_is_silent)
{
    unsigned char silent_guest[512] = {0xfa, 0xf4, 0xeb, 0xfd}; // cli; hlt; jump to the hlt
    silent_guest[510] = 0x55;
    silent_guest[511] = 0xaa;
    start_guest("silent", silent_guest);
    console_session session{host, avirt::console{"silent"}, {.on_demand = true}};
    reach(session, console_state::off);
    BOOST_TEST(write(session, "x") == error_code()); // Opens the console.
    reach(session, console_state::off);
    destroy("silent");
}

BOOST_AUTO_TEST_CASE(a_view_that_falls_behind_is_told_how_much_it_has_lost)
{
    start_guest("flood", avirt_flood_guest);
    console_session session{host, avirt::console{"flood"}, {.history = 8192}};
    avirt::console_view slow{session};
    reach(session, console_state::attached);
    run_until([&] { return session.end_offset() > 100'000; });
    std::string memory(1'000'000, '\0');
    std::uint64_t lost = 0, read_bytes = 0;
    for (bool was_lost = false; !was_lost || read_bytes == 0;) {
        outcome read;
        slow.async_read_some(asio::buffer(memory), read.handler());
        run_until_done(read);
        was_lost = was_lost || read.ec() == error::output_lost;
        if (read.ec() == error::output_lost)
            lost += slow.lost();
        read_bytes += read.bytes();
        BOOST_TEST(slow.offset() == lost + read_bytes);
    }
    BOOST_TEST(lost >= 100'000U - 8192U);
    // An offset that is no longer kept is lost, too; everything is what is kept.
    avirt::console_view early{session, {.from = 1}};
    outcome read;
    early.async_read_some(asio::buffer(memory), read.handler());
    run_until_done(read);
    BOOST_TEST(read.ec() == error::output_lost);
    BOOST_TEST(early.lost() == early.offset() - 1);
    avirt::console_view everything{session, {.from = console_view_options::everything}};
    BOOST_TEST(everything.offset() > 0U);
    destroy("flood");
}

BOOST_AUTO_TEST_CASE(closing_ends_everything_and_views_read_what_is_left)
{
    start_guest("echo", avirt_demo_guest);
    std::optional<console_session> session{std::in_place, host, avirt::console{"echo"}};
    reach(*session, console_state::attached);
    check_echo(*session);
    console_viewer late(*session, console_view_options::everything), live(*session);
    outcome never;
    session->async_wait_for(console_state::stalled, never.handler());
    session->close();
    run_until_done(never);
    BOOST_TEST(never.ec() == error::not_open);
    BOOST_TEST(session->state() == console_state::closed);
    BOOST_TEST(write(*session, "x") == error::not_open);
    BOOST_TEST(wait_for(*session, console_state::closed) == error_code());
    BOOST_TEST(wait_for(*session, console_state::attached) == error::not_open);
    BOOST_TEST(start(*session) == error::not_open);
    session.reset();
    run_until([&] { return late.end() && live.end(); });
    BOOST_TEST(late.end() == asio::error::eof);
    BOOST_TEST(live.end() == asio::error::eof);
    BOOST_TEST(late.has("hello\r\n"));
}

BOOST_AUTO_TEST_CASE(closing_the_host_closes_its_sessions)
{
    console_session session{host, avirt::console{"nobody"}};
    reach(session, console_state::off);
    host.close();
    reach(session, console_state::closed);
    console_session late{host, avirt::console{"nobody"}};
    reach(late, console_state::closed);
}

BOOST_AUTO_TEST_CASE(operations_can_be_cancelled)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    avirt::console_view view{session};
    char byte = 0;
    asio::cancellation_signal signal;
    outcome read, waited;
    view.async_read_some(asio::buffer(&byte, 1), asio::bind_cancellation_slot(signal.slot(), read.handler()));
    check_cancellation(signal, read);
    view.async_read_some(asio::buffer(&byte, 1), (read = {}).handler());
    outcome second;
    view.async_read_some(asio::buffer(&byte, 1), second.handler());
    run_until_done(second);
    BOOST_TEST(second.ec() == error::operation_in_progress);
    view.cancel();
    run_until_done(read);
    BOOST_TEST(read.ec() == aborted);
    session.async_wait_for(
        console_state::stalled, asio::bind_cancellation_slot(signal.slot(), waited.handler()));
    check_cancellation(signal, waited);
    check_echo(session);
}

BOOST_AUTO_TEST_CASE(objects_may_be_destroyed_inside_their_handlers)
{
    start_guest("echo", avirt_demo_guest);
    std::optional<console_session> session{std::in_place, host, avirt::console{"echo"}};
    std::optional<avirt::console_view> view{std::in_place, *session};
    char byte = 0;
    bool is_over = false;
    view->async_read_some(asio::buffer(&byte, 1), [&](error_code ec, std::size_t) {
        BOOST_TEST(ec == error::console_state_changed);
        view.reset();
        session.reset();
        is_over = true;
    });
    run_until([&] { return is_over; });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(lost_daemon, own_daemon_session_fixture)

BOOST_AUTO_TEST_CASE(a_session_survives_the_daemon)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    console_viewer viewer(session);
    check_echo(session);
    for (const int signal : {SIGKILL, SIGTERM}) {
        viewer.forget();
        leave(signal);
        reach(session, console_state::host_away);
        BOOST_TEST(write(session, "x") == error::not_attached);
        come_back();
        reach(session, console_state::attached);
        check_echo(session);
        run_until([&] { return viewer.has("hello\r\n"); });
        BOOST_TEST(viewer.has_seen(console_state::host_away));
        BOOST_TEST(viewer.offset() == session.end_offset());
        BOOST_TEST(viewer.lost() == 0U);
    }
    destroy("echo");
    reach(session, console_state::off);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_is_stopped_holds_up_a_session_until_it_goes_on)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    check_echo(session);
    daemon.freeze();
    console_viewer viewer(session);
    BOOST_TEST(write(session, "late\r") == error_code()); // The session keeps it.
    daemon.thaw();
    run_until([&] { return viewer.has("late\r\n"); });
    BOOST_TEST(viewer.states().empty());
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_CASE(a_daemon_that_stays_stopped_is_given_up)
{
    start_guest("echo", avirt_demo_guest);
    auto impatient = options();
    impatient.open.keepalive_interval = 1s;
    impatient.open.keepalive_count = 1;
    avirt::supervised_connection its_host{io, impatient};
    console_session session{its_host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    check_echo(session);
    daemon.freeze();
    reach(session, console_state::host_away);
    BOOST_TEST(write(session, "x") == error::not_attached);
    daemon.thaw();
    reach(session, console_state::attached);
    check_echo(session);
    destroy("echo");
    its_host.close();
}

BOOST_AUTO_TEST_CASE(input_that_a_lost_daemon_had_is_of_unknown_fate)
{
    start_guest("echo", avirt_demo_guest);
    console_session session{host, avirt::console{"echo"}};
    reach(session, console_state::attached);
    check_echo(session);
    BOOST_TEST(session.unknown_input() == 0U);
    daemon.freeze();
    BOOST_TEST(write(session, "unknown") == error_code());
    daemon.kill();
    run_until([&] { return session.state() != console_state::attached; });
    BOOST_TEST(session.unknown_input() == 7U);
    BOOST_TEST(session.unknown_input() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()
