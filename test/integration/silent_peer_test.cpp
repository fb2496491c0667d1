// SPDX-License-Identifier: BSL-1.0
#include "../conformance/lifecycle_child.hpp"

#include <avirt/avirt.hpp>
#include <support/cancellation_types.hpp>
#include <support/eventually.hpp>
#include <support/libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/no_sleep.hpp>
#include <support/open_files.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>
#include <support/silent_peer.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>
#include <variant>

// Opening a connection to a peer that never answers, and giving up.

namespace {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using asio::cancellation_type;
using avirt::error_code;
using support::outcome;
using support::silent_peer;
using kind = silent_peer::kind;

const error_code aborted = asio::error::operation_aborted;

struct opening
{
    std::optional<avirt::connection> conn;
    asio::cancellation_signal signal;
    outcome opened;

    opening(asio::io_context& io, const std::string& uri) : conn(io)
    {
        conn->async_open(uri, asio::bind_cancellation_slot(signal.slot(), opened.handler()));
    }
};

struct way_to_give_up
{
    const char* name;
    std::function<void(opening&)> give_up;
};

std::ostream& operator<<(std::ostream& out, const way_to_give_up& w)
{
    return out << w.name;
}

const auto peers = data::make(
    {kind::accepts, kind::has_no_room, kind::has_no_room_over_tcp, kind::shakes_no_hand, kind::command});

const auto ways = data::make(std::vector<way_to_give_up>{
    {"terminal", [](opening& o) { o.signal.emit(cancellation_type::terminal); }},
    {"partial", [](opening& o) { o.signal.emit(cancellation_type::partial); }},
    {"total", [](opening& o) { o.signal.emit(cancellation_type::total); }},
    {"cancel()", [](opening& o) { o.conn->cancel(); }},
    {"close()", [](opening& o) { o.conn->close(); }},
    {"destroyed", [](opening& o) { o.conn.reset(); }},
});

BOOST_AUTO_TEST_SUITE(silent_peers)

BOOST_DATA_TEST_CASE(an_abandoned_open, peers* ways, kind, way)
{
    const auto before = support::open_files();
    {
        silent_peer peer(kind);
        support::loop_fixture f;
        {
            const support::no_sleep unexpected_sleeps;
            opening o(f.io, peer.uri());
            f.run_until([&] { return peer.is_waited_for(); });
            BOOST_TEST(!o.opened);
            way.give_up(o);
            f.run_until([&] { return bool(o.opened); });
            BOOST_TEST(o.opened.ec() == aborted);
            support::run_to_end(f.io);
            BOOST_TEST(o.opened.calls() == 1);
            BOOST_TEST(f.loop.is_idle());
            BOOST_TEST(unexpected_sleeps.violations().empty());
        }
        peer.leave();
        BOOST_TEST(support::eventually([&] { return f.loop.stats().abandoned_calls == 0; }));
    }
    BOOST_TEST(support::eventually([&] { return support::open_files() <= before; }));
    BOOST_TEST(support::open_files() == before);
}

BOOST_DATA_TEST_CASE(the_connection_can_be_opened_elsewhere_at_once, peers, kind)
{
    silent_peer peer(kind);
    support::loop_fixture f;
    opening o(f.io, peer.uri());
    f.run_until([&] { return peer.is_waited_for(); });
    o.conn->close();
    outcome opened, called;
    o.conn->async_open("test:///default", opened.handler());
    f.run_until([&] { return bool(opened); });
    BOOST_TEST(opened.ec() == error_code());
    peer.leave();
    BOOST_TEST(support::eventually([&] { return f.loop.stats().abandoned_calls == 0; }));
    o.conn->async_call(virConnectNumOfDomains, called.handler());
    f.run_until([&] { return bool(called); });
    BOOST_TEST(called.ec() == error_code());
}

BOOST_DATA_TEST_CASE(the_peer_disconnects, peers, kind)
{
    silent_peer peer(kind);
    support::loop_fixture f;
    opening o(f.io, peer.uri());
    f.run_until([&] { return peer.is_waited_for(); });
    peer.leave();
    f.run_until([&] { return bool(o.opened); });
    BOOST_TEST(bool(o.opened.ec()));
    BOOST_TEST(o.opened.ec() != aborted);
    BOOST_TEST(!o.conn->is_open());
}

BOOST_DATA_TEST_CASE(an_open_that_times_out, peers, kind)
{
    silent_peer peer(kind);
    support::loop_fixture f;
    avirt::connection conn(f.io);
    avirt::open_options options{peer.uri()};
    options.timeout = std::chrono::milliseconds(100);
    outcome opened;
    avirt::error_details why;
    conn.async_open(options, avirt::with_details(opened.handler(), why));
    f.run_until([&] { return bool(opened); });
    BOOST_TEST(opened.ec() == avirt::condition::timed_out);
    BOOST_TEST(!why.message.empty());
    BOOST_TEST(!conn.is_open());
    support::run_to_end(f.io);
    BOOST_TEST(opened.calls() == 1);
    peer.leave();
    BOOST_TEST(support::eventually([&] { return f.loop.stats().abandoned_calls == 0; }));
    outcome again;
    options.uri = "test:///default";
    options.timeout = {};
    conn.async_open(options, again.handler());
    f.run_until([&] { return bool(again); });
    BOOST_TEST(again.ec() == error_code());
}

BOOST_AUTO_TEST_CASE(a_supervised_host_that_times_out)
{
    silent_peer peer(kind::accepts);
    support::loop_fixture f;
    avirt::supervision_options options;
    options.open.uri = peer.uri();
    options.open.timeout = std::chrono::milliseconds(100);
    avirt::supervised_connection host(f.io, options);
    for (int i = 0; i < 2; ++i) {
        outcome received;
        const auto report = std::make_shared<avirt::host_report>();
        host.async_receive([report, h = received.handler()](error_code ec, avirt::host_report r) mutable {
            *report = std::move(r);
            h(ec);
        });
        f.run_until([&] { return bool(received); });
        BOOST_TEST(received.ec() == error_code());
        const auto* away = std::get_if<avirt::host_disconnected>(report.get());
        BOOST_REQUIRE(away);
        BOOST_TEST(away->error == avirt::condition::timed_out);
    }
    host.close();
    peer.leave();
}

// The process ends while the peer still does not answer.

BOOST_DATA_TEST_CASE(the_process_ends_after_an_abandoned_open, peers* ways, kind, way)
{
    conformance::expect_success([&] {
        static auto* const peer = new silent_peer(kind); // Outlives main().
        asio::io_context io;
        avirt::event_loop loop(io);
        opening o(io, peer->uri());
        support::run_until(io, [] { return peer->is_waited_for(); });
        peer->remove_files();
        way.give_up(o);
        io.restart();
        io.run();
        conformance::expect(o.opened.ec() == aborted, "the open was not aborted");
    });
}

BOOST_DATA_TEST_CASE(the_process_ends_during_an_open, peers, kind)
{
    conformance::expect_success([&] {
        static auto* const peer = new silent_peer(kind);
        asio::io_context io;
        avirt::event_loop loop(io);
        opening o(io, peer->uri());
        support::run_until(io, [] { return peer->is_waited_for(); });
        peer->remove_files();
    });
}

BOOST_DATA_TEST_CASE(the_process_ends_after_a_call_to_a_stopped_daemon, data::make({true, false}), cancel)
{
    conformance::expect_success([&] {
        static auto* const daemon = new support::libvirtd;
        asio::io_context io;
        avirt::event_loop loop(io);
        opening o(io, daemon->uri());
        support::run_until(io, [&] { return bool(o.opened); });
        daemon->freeze();
        outcome called;
        o.conn->async_call(
            virConnectNumOfDomains, asio::bind_cancellation_slot(o.signal.slot(), called.handler()));
        support::run_until(io, [&] { return loop.stats().running_calls == 1; });
        if (!cancel)
            return;
        o.signal.emit(cancellation_type::terminal);
        support::run_until(io, [&] { return bool(called); });
        conformance::expect(called.ec() == aborted, "the call was not aborted");
        o.conn->close();
        io.restart();
        io.run();
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
