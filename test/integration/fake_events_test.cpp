// SPDX-License-Identifier: BSL-1.0
#include "event_messages.hpp"
#include "event_operations.hpp"
#include "event_text.hpp"

#include <avirt/avirt.hpp>
#include <support/eventually.hpp>
#include <support/fake_libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <future>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include <sys/socket.h>

// Tests every type of event with a handmade message: no real daemon can be made to send all of them.

namespace {

namespace data = boost::unit_test::data;
using avirt::error_code;
using avirt::detail::event_object;
using support::outcome;
using support::xdr;
using event_style = support::fake_libvirtd::event_style;

struct connection_to_fake : support::loop_fixture
{
    struct registered
    {
        support::fake_libvirtd::session session;
        support::fake_libvirtd::registration what;
    };

    explicit connection_to_fake(event_style style = event_style::with_callback_ids)
        : daemon(
            [this](const auto& session, const auto& what) {
                const std::lock_guard guard(mutex_);
                seen_.push_back({session, what});
            },
            style)
    {
        outcome opened;
        conn.async_open(daemon.uri(), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }

    ~connection_to_fake()
    {
        conn.close();
        support::run_to_end(io);
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    /// Registrations, in the order in which the daemon received them.
    std::vector<registered> seen()
    {
        const std::lock_guard guard(mutex_);
        return seen_;
    }

private:
    std::mutex mutex_;
    std::vector<registered> seen_;

public:
    support::fake_libvirtd daemon; // Its script uses the members above.
    avirt::connection conn{io};
};

struct events_fixture : with_events<connection_to_fake>
{
    using with_events::with_events;

    /// Subscribes to events that are not registered at the daemon yet.
    template <class Source>
    registered subscribe_at_daemon(Source& source)
    {
        BOOST_TEST(!subscribe(source));
        const auto now = seen();
        BOOST_TEST_REQUIRE(!now.empty());
        BOOST_TEST(now.back().what.event == avirt::detail::event_traits<typename Source::event_type>::id);
        return now.back();
    }

    template <class Event>
    void expect(avirt::event_source<Event>& source, const std::string& text)
    {
        const auto [ec, event] = receive(source);
        BOOST_REQUIRE_EQUAL(ec, error_code());
        BOOST_TEST(text_of_event(event) == text);
    }

    template <class Event>
    void expect(avirt::event_source<Event>& source, const std::vector<event_message<Event>>& messages)
    {
        const auto object = object_on_wire(object_kind<Event>).text;
        for (const auto& m : messages)
            expect(source, object + m.news);
    }
};

struct old_events_fixture : events_fixture
{
    old_events_fixture() : events_fixture(event_style::of_old) {}

    /// Checks the event if the old daemon knows it, and returns whether it does.
    template <class Event>
    bool check(const event_entry<Event>& entry)
    {
        if (entry.old_procedure == 0)
            return false;
        avirt::event_source<Event> source{conn};
        auto at_daemon = subscribe_at_daemon(source);
        BOOST_TEST(at_daemon.what.callback_id == -1);
        const auto& messages = entry.old_messages.empty() ? entry.messages : entry.old_messages;
        for (const auto& m : messages)
            at_daemon.session.event(entry.old_procedure, m.body);
        expect(source, messages);
        BOOST_TEST(!unsubscribe(source));
        BOOST_TEST(daemon.registrations() == 0);
        return true;
    }
};

/// @param event Tells the test which event arrives.
template <class Event>
void send_lifecycle(connection_to_fake::registered to, const support::encoded& object, int event)
{
    to.session.event(entry_of<Event>().procedure, xdr(to.what.callback_id, object, event, 0));
}

const auto domain_on_wire = object_on_wire(event_object::domain);

BOOST_FIXTURE_TEST_SUITE(fake_events, events_fixture)

BOOST_AUTO_TEST_CASE_TEMPLATE(each_member_arrives, Event, event_types::list)
{
    const auto& entry = entry_of<Event>();
    avirt::event_source<Event> source{conn};
    auto at_daemon = subscribe_at_daemon(source);
    BOOST_TEST(at_daemon.what.callback_id != -1);
    BOOST_TEST(at_daemon.what.object.empty());
    for (const auto& m : entry.messages)
        at_daemon.session.event(entry.procedure, xdr(at_daemon.what.callback_id, m.body));
    expect(source, entry.messages);
    BOOST_TEST(!unsubscribe(source));
    BOOST_TEST(daemon.registrations() == 0);
}

BOOST_FIXTURE_TEST_CASE(from_a_daemon_without_callback_ids, old_events_fixture)
{
    const int known =
        std::apply([&](const auto&... entries) { return (0 + ... + check(entries)); }, make_event_table());
    // The last event that was added before callback ids.
    BOOST_TEST(known == VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED + 1);
}

BOOST_AUTO_TEST_CASE(events_of_a_domain_that_does_not_run)
{
    lifecycle_source source{conn};
    const auto at_daemon = subscribe_at_daemon(source);
    send_lifecycle<avirt::domain_lifecycle>(
        at_daemon, xdr("a \xc3\xa4/\"", support::encoded{std::string(16, '\xff')}, -1), 1);
    expect(source, "a \xc3\xa4/\" ffffffff-ffff-ffff-ffff-ffffffffffff -1 1 0");
}

BOOST_AUTO_TEST_CASE(events_with_an_unknown_callback_id_are_dropped)
{
    lifecycle_source source{conn};
    const auto at_daemon = subscribe_at_daemon(source);
    auto unknown = at_daemon;
    for (const int id : {-1, 0, at_daemon.what.callback_id + 1}) {
        unknown.what.callback_id = id;
        send_lifecycle<avirt::domain_lifecycle>(unknown, domain_on_wire.wire, 1);
    }
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 2);
    expect(source, domain_on_wire.text + " 2 0");
    BOOST_TEST(source.lost() == 0u);
}

BOOST_AUTO_TEST_CASE(events_after_unsubscribing_are_dropped)
{
    lifecycle_source first{conn}, second{conn};
    const auto old = subscribe_at_daemon(first);
    BOOST_TEST(!unsubscribe(first));
    const auto at_daemon = subscribe_at_daemon(second);
    BOOST_TEST(old.what.callback_id != at_daemon.what.callback_id);
    send_lifecycle<avirt::domain_lifecycle>(old, domain_on_wire.wire, 1);
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 2);
    expect(second, domain_on_wire.text + " 2 0");
}

using lifecycles = std::tuple<
    avirt::domain_lifecycle, avirt::network_lifecycle, avirt::storage_pool_lifecycle,
    avirt::node_device_lifecycle, avirt::secret_lifecycle>;

BOOST_AUTO_TEST_CASE_TEMPLATE(events_of_one_object, Event, lifecycles)
{
    constexpr auto kind = object_kind<Event>;
    const std::string uuid = "75757575-7575-7575-7575-757575757575"; // The fake daemon's only one.
    avirt::event_source<Event> source{conn, {.object = kind == event_object::secret ? uuid : "vm"}};
    const auto at_daemon = subscribe_at_daemon(source);
    BOOST_TEST_REQUIRE(!at_daemon.what.object.empty());
    // A real daemon sends no events of other objects, but libvirt checks the object too.
    send_lifecycle<Event>(at_daemon, object_on_wire(kind).wire, 1);
    send_lifecycle<Event>(at_daemon, support::encoded{at_daemon.what.object}, 2);
    const auto [ec, event] = receive(source);
    BOOST_REQUIRE_EQUAL(ec, error_code());
    BOOST_TEST(event.event == 2);
    BOOST_TEST(
        text_of_event(event).find(kind == event_object::node_device ? "vm" : uuid) != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(events_of_one_domain_without_callback_ids, old_events_fixture)
{
    lifecycle_source source{conn, {.object = "vm"}};
    auto at_daemon = subscribe_at_daemon(source);
    BOOST_TEST(at_daemon.what.object.empty()); // This daemon cannot filter by domain.
    const auto procedure = entry_of<avirt::domain_lifecycle>().old_procedure;
    at_daemon.session.event(procedure, xdr(domain_on_wire.wire, 1, 0));
    at_daemon.session.event(procedure, xdr("vm", support::encoded{std::string(16, 'u')}, 1, 2, 0));
    expect(source, "vm 75757575-7575-7575-7575-757575757575 1 2 0");
}

BOOST_AUTO_TEST_CASE(sources_of_the_same_event_share_a_registration)
{
    lifecycle_source first{conn}, second{conn};
    const auto at_daemon = subscribe_at_daemon(first);
    BOOST_TEST(!subscribe(second));
    BOOST_TEST(seen().size() == 1u);
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 1);
    expect(first, domain_on_wire.text + " 1 0");
    expect(second, domain_on_wire.text + " 1 0");
    BOOST_TEST(!unsubscribe(first));
    BOOST_TEST(daemon.registrations() == 1);
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 2);
    expect(second, domain_on_wire.text + " 2 0");
    BOOST_TEST(!unsubscribe(second));
    BOOST_TEST(daemon.registrations() == 0);
}

BOOST_AUTO_TEST_CASE(sources_of_one_domain_and_of_all_have_separate_registrations)
{
    lifecycle_source one{conn, {.object = "vm"}}, all{conn};
    const auto of_one = subscribe_at_daemon(one);
    const auto of_all = subscribe_at_daemon(all);
    const support::encoded vm{of_one.what.object};
    send_lifecycle<avirt::domain_lifecycle>(of_one, vm, 1);
    send_lifecycle<avirt::domain_lifecycle>(of_all, vm, 2);
    send_lifecycle<avirt::domain_lifecycle>(of_one, vm, 3);
    send_lifecycle<avirt::domain_lifecycle>(of_all, domain_on_wire.wire, 4);
    const std::vector<int> ones{1, 3}, alls{2, 4};
    BOOST_TEST(receive_lifecycle(one, 2) == ones, boost::test_tools::per_element());
    BOOST_TEST(receive_lifecycle(all, 2) == alls, boost::test_tools::per_element());
}

// The message ends within its length, header, callback id, name or last number.
BOOST_DATA_TEST_CASE(a_daemon_that_dies_amid_a_message, data::make({0, 2, 4, 20, 28, 30, 40, 71}), size)
{
    lifecycle_source source{conn};
    auto at_daemon = subscribe_at_daemon(source);
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 1);
    send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 2);
    at_daemon.session.part_of_event(
        entry_of<avirt::domain_lifecycle>().procedure,
        xdr(at_daemon.what.callback_id, domain_on_wire.wire, 3, 0), static_cast<std::size_t>(size));
    at_daemon.session.close();
    const std::vector<int> expected{1, 2};
    BOOST_TEST(receive_lifecycle(source, 2) == expected, boost::test_tools::per_element());
    BOOST_TEST(receive(source).first == avirt::condition::connection_lost);
    BOOST_TEST(receive(source).first == avirt::condition::connection_lost);
    BOOST_TEST(unsubscribe(source) == avirt::error::not_open);
}

// The thread of the call reads the events that precede the answer.
BOOST_AUTO_TEST_CASE(a_daemon_that_dies_in_a_call_after_events)
{
    lifecycle_source source{conn};
    const auto at_daemon = subscribe_at_daemon(source);
    for (int i = 0; i < 100; ++i)
        send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, i);
    daemon.end_at_next_call(SHUT_RDWR);
    outcome called;
    conn.async_call(
        [](virConnectPtr c) {
            unsigned long version = 0;
            return virConnectGetLibVersion(c, &version);
        },
        [h = called.handler()](error_code ec, int) mutable { h(ec); });
    // The loop does not run meanwhile, so that it leaves the events to the call.
    BOOST_REQUIRE(support::eventually([&] { return !daemon.ends_at_next_call(); }));
    run_until_done(called);
    BOOST_TEST(called.ec() == avirt::condition::connection_lost);
}

// While the loop is in a callback, another thread makes a call, and reads the events and the end. Events and
// end then wait for the loop.
BOOST_AUTO_TEST_CASE(a_daemon_that_dies_while_the_loop_is_busy)
{
    lifecycle_source source{conn};
    const auto at_daemon = subscribe_at_daemon(source);
    struct busy
    {
        std::promise<void> begun{}, may_end{};
        int timer = -1;
    } b;
    outcome called;
    conn.async_call(
        [&](virConnectPtr c) {
            b.begun.get_future().wait();
            send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 1);
            send_lifecycle<avirt::domain_lifecycle>(at_daemon, domain_on_wire.wire, 2);
            daemon.end_at_next_call(SHUT_WR);
            unsigned long version = 0;
            const int result = virConnectGetLibVersion(c, &version);
            b.may_end.set_value();
            return result;
        },
        [h = called.handler()](error_code ec, int) mutable { h(ec); });
    b.timer = virEventAddTimeout(
        0,
        [](int timer, void* opaque) {
            auto& self = *static_cast<busy*>(opaque);
            virEventUpdateTimeout(timer, -1);
            self.begun.set_value();
            self.may_end.get_future().wait();
        },
        &b, nullptr);
    run_until_done(called);
    BOOST_TEST(called.ec() == avirt::condition::connection_lost);
    virEventRemoveTimeout(b.timer);
    const std::vector<int> expected{1, 2};
    BOOST_TEST(receive_lifecycle(source, 2) == expected, boost::test_tools::per_element());
    BOOST_TEST(receive(source).first == avirt::condition::connection_lost);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
