// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <support/gate.hpp>
#include <support/packet_proxy.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/write.hpp>

#include <atomic>

// A real daemon whose messages arrive in pieces, in part, or never.

namespace {

using support::packet_proxy;
using packet = packet_proxy::packet;
using verdict = packet_proxy::verdict;

/// Treats stream packets and replies as told; all other packets pass.
struct proxy
{
    std::atomic<verdict> data{verdict::pass};
    std::atomic<verdict> end_from_daemon{verdict::pass};
    std::atomic<verdict> other{verdict::pass};
    /// Holds back stream packets until the stream is open: a connection that ends right behind the answer
    /// would make the opening call fail (docs/libvirt.md, "A connection's socket").
    support::gate is_open;
    packet_proxy between{shared_daemon().socket(), [this](const packet& p) -> verdict {
                             if (p.type == packet::kind::stream && !p.from_client)
                                 is_open.entry()();
                             if (p.is_stream_data())
                                 return data;
                             if (p.is_stream_end() && !p.from_client)
                                 return end_from_daemon;
                             return p.type == packet::kind::reply ? other.load() : verdict::pass;
                         }};

    ~proxy()
    {
        is_open.open();
    }
};

struct proxy_fixture : proxy, remote_fixture
{
    proxy_fixture() : remote_fixture(shared_daemon(), between.uri()) {}

    template <class Opener>
    void open_stream(Opener opener)
    {
        remote_fixture::open_stream(std::move(opener));
        is_open.open();
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_proxy, proxy_fixture)

BOOST_AUTO_TEST_CASE(all_messages_in_pieces)
{
    other = data = end_from_daemon = verdict::fragment;
    const auto source = content(make_volume("source", 1'000'000));
    const auto path = make_volume("pieces", 0);
    open_stream(upload("pieces"));
    send(source, 100'000);
    BOOST_TEST(finish() == error_code());
    BOOST_TEST((content(path) == source));
    open_stream(download("pieces"));
    BOOST_TEST((receive(65'536) == source));
    BOOST_TEST(finish() == error_code());

    converse();
}

BOOST_AUTO_TEST_CASE(lost_with_the_answer_to_a_finish)
{
    const auto path = make_volume("unknown", 0);
    open_stream(upload("unknown"));
    send("all of it", 9);
    end_from_daemon = verdict::cut;
    BOOST_TEST(finish() == avirt::error::result_unknown);
    BOOST_TEST(content(path) == "all of it");
}

BOOST_AUTO_TEST_CASE(lost_before_the_end)
{
    const auto source = content(make_volume("endless", 600'000));
    end_from_daemon = verdict::cut;
    open_stream(download("endless"));
    outcome read;
    BOOST_TEST((receive(100'000, read) == source));
    BOOST_TEST(bool(read.ec() == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(lost_within_a_packet)
{
    make_volume("torn", 600'000);
    data = verdict::cut_within;
    open_stream(download("torn"));
    outcome read;
    BOOST_TEST(receive(100'000, read).empty());
    BOOST_TEST(bool(read.ec() == avirt::condition::connection_lost));
    stream.close();

    open_stream(upload("torn"));
    outcome written;
    const std::string much(4 * 1024 * 1024, 'x');
    asio::async_write(stream, asio::buffer(much), written.handler());
    run_until_done(written);
    BOOST_TEST(bool(written.ec() == avirt::condition::connection_lost));
}

BOOST_AUTO_TEST_CASE(an_answer_that_never_comes)
{
    make_volume("silent", 1000);
    other = verdict::hold; // Holds the reply to opening the stream's own connection.
    asio::cancellation_signal signal;
    outcome opened;
    stream.async_open(
        conn, download("silent"), asio::bind_cancellation_slot(signal.slot(), opened.handler()));
    while (loop.stats().running_calls == 0)
        io.run_one_for(std::chrono::milliseconds(1));
    check_cancellation(signal, opened);
    BOOST_TEST(!stream.is_open());
}

BOOST_AUTO_TEST_SUITE_END()
