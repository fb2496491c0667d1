// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

// How the loss of a connection is reported.

namespace {

void check_closed_by_daemon(asio::io_context& io, avirt::async_stream& stream)
{
    char c;
    outcome read;
    avirt::error_details why;
    stream.async_read_some(asio::buffer(&c, 1), avirt::with_details(read.handler(), why));
    support::run_until(io, [&] { return read.calls() > 0; });
    BOOST_TEST(bool(read.ec() == avirt::condition::connection_lost));
    BOOST_TEST(why.message == "connection lost: the daemon has closed it");
}

} // namespace

BOOST_AUTO_TEST_SUITE(remote_loss)

BOOST_AUTO_TEST_CASE(is_not_attributed_to_a_timeout_that_threw)
{
    support::libvirtd daemon;
    remote_fixture f(daemon);
    f.make_volume("lost", 0);
    f.open_stream(remote_fixture::upload("lost"));
    struct thrown
    {
    };
    const int timer = virEventAddTimeout(
        0, [](int, void*) { throw thrown(); }, nullptr, nullptr);
    BOOST_CHECK_THROW(f.run_until([] { return false; }), thrown);
    virEventRemoveTimeout(timer);
    daemon.kill();
    check_closed_by_daemon(f.io, f.stream);
}

BOOST_AUTO_TEST_CASE(is_not_attributed_to_the_timeout_that_detects_it)
{
    support::libvirtd daemon;
    remote_fixture f(daemon);
    f.make_volume("lost", 0);
    outcome opened;
    f.stream.async_open(f.conn, avirt::shared_connection, remote_fixture::upload("lost"), opened.handler());
    f.run_until_done(opened);
    BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    const auto detect_loss = [](int timer, void* fixture) {
        auto& self = *static_cast<remote_fixture*>(fixture);
        virEventRemoveTimeout(timer);
        self.daemon.kill();
        while (self.daemon.clients() != 0)
            continue;
        BOOST_TEST(virConnectNumOfDomains(self.conn.native_handle()) < 0);
    };
    BOOST_TEST(virEventAddTimeout(0, detect_loss, &f, nullptr) > 0);
    check_closed_by_daemon(f.io, f.stream);
}

BOOST_AUTO_TEST_SUITE_END()
