// SPDX-License-Identifier: BSL-1.0
#include "access_fixture.hpp"

#include <support/gate.hpp>

#include <atomic>
#include <span>
#include <stdexcept>

// A daemon that authenticates its clients by a password, with SASL.

namespace {

support::libvirtd& guarded_daemon()
{
    static support::libvirtd daemon(support::libvirtd::kind::session_with_password);
    return daemon;
}

std::string tcp_uri()
{
    return "qemu+tcp://127.0.0.1:" + std::to_string(guarded_daemon().port()) + "/session";
}

/// Answers requests for credentials as the user "fred", and counts them.
struct fred
{
    std::atomic<int> asked{0}; // requests for the user name; each connection that asks makes one

    avirt::open_options options(const std::string& uri, const std::string& password)
    {
        avirt::open_options o{uri};
        o.authenticate = [this, password](std::span<avirt::credential> credentials) {
            for (auto& c : credentials) {
                asked += c.type == VIR_CRED_AUTHNAME ? 1 : 0;
                // Some mechanisms also ask for the identity to act as.
                c.result = c.type == VIR_CRED_PASSPHRASE ? password : "fred";
            }
            return true;
        };
        return o;
    }
};

struct unix_fixture : fred, access_fixture
{
    explicit unix_fixture(bool replay = true) : access_fixture(guarded_daemon(), options_with_replay(replay))
    {
    }

    avirt::open_options options_with_replay(bool replay)
    {
        auto o = options(guarded_daemon().uri(), "sesame");
        o.replay_credentials = replay;
        return o;
    }

    void use_own_connections()
    {
        make_volume("source", 1000);
        open_stream(download("source"));
        outcome called;
        conn.async_call(avirt::own_connection, virConnectNumOfDomains, called.handler());
        run_until_done(called);
        BOOST_TEST(called.ec() == error_code());
    }
};

struct no_replay_fixture : unix_fixture
{
    no_replay_fixture() : unix_fixture(false) {}
};

struct tcp_fixture : fred, access_fixture
{
    tcp_fixture() : access_fixture(guarded_daemon(), fred::options(tcp_uri(), "sesame")) {}
};

/// Opens connections, and keeps the reason of a failure.
struct open_fixture : fred, support::loop_fixture
{
    avirt::connection conn{io};
    avirt::error_details why;

    error_code open(avirt::open_options options)
    {
        outcome opened;
        conn.async_open(std::move(options), avirt::with_details(opened.handler(), why));
        run_until([&] { return opened.calls() > 0; });
        BOOST_TEST(conn.is_open() == !opened.ec());
        return opened.ec();
    }

    error_code open(avirt::authenticator a)
    {
        avirt::open_options o{guarded_daemon().uri()};
        o.authenticate = std::move(a);
        return open(std::move(o));
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(remote_password)

BOOST_FIXTURE_TEST_CASE(asks_once, unix_fixture)
{
    BOOST_TEST(asked == 1);
    use_own_connections();
    BOOST_TEST(asked == 1);
}

BOOST_FIXTURE_TEST_CASE(asks_for_each_connection_without_replay, no_replay_fixture)
{
    BOOST_TEST(asked == 1);
    use_own_connections();
    BOOST_TEST(asked == 3);
}

BOOST_FIXTURE_TEST_CASE(encrypted_over_tcp, tcp_fixture)
{
    copy(1000);
    copy(262144);
    converse();
    BOOST_TEST(asked == 1);
}

BOOST_FIXTURE_TEST_CASE(a_write_to_a_stopped_daemon, tcp_fixture)
{
    write_while_it_is_stopped(false);
}

BOOST_FIXTURE_TEST_CASE(a_wrong_password, open_fixture)
{
    const auto ec = open(options(guarded_daemon().uri(), "please"));
    BOOST_TEST((ec == avirt::condition::denied));
    BOOST_TEST(why.code == int{VIR_ERR_AUTH_FAILED});
    BOOST_TEST(why.message == "authentication failed: authentication failed");
    BOOST_TEST(open(options(guarded_daemon().uri(), "sesame")) == error_code());
    conn.close();
}

BOOST_FIXTURE_TEST_CASE(the_authenticator_refuses, open_fixture)
{
    int calls = 0;
    const auto ec = open([&](auto) {
        ++calls;
        return false;
    });
    BOOST_TEST((ec == avirt::condition::denied));
    BOOST_TEST(why.code == int{VIR_ERR_AUTH_FAILED});
    BOOST_TEST(why.message == "authentication failed: Failed to collect auth credentials");
    BOOST_TEST(calls == 1);
}

BOOST_FIXTURE_TEST_CASE(no_authenticator, open_fixture)
{
    const auto ec = open(avirt::open_options{guarded_daemon().uri()});
    BOOST_TEST((ec == avirt::condition::denied));
    BOOST_TEST(why.code == int{VIR_ERR_AUTH_FAILED});
    BOOST_TEST_INFO(why.message);
    BOOST_TEST(why.message.find("no mechanism available") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(the_authenticator_throws, open_fixture)
{
    const auto ec = open([](auto) -> bool { throw std::runtime_error("the key ring is locked"); });
    BOOST_TEST(ec == avirt::error::call_threw);
    BOOST_TEST(why.message == "the key ring is locked");
}

BOOST_FIXTURE_TEST_CASE(cancelled_while_the_authenticator_runs, open_fixture)
{
    support::gate g;
    avirt::open_options o{guarded_daemon().uri()};
    o.authenticate = g.entry(1);
    asio::cancellation_signal signal;
    outcome opened;
    conn.async_open(std::move(o), asio::bind_cancellation_slot(signal.slot(), opened.handler()));
    run_until([&] { return g.arrived() == 1; });
    signal.emit(asio::cancellation_type::terminal);
    run_until([&] { return opened.calls() > 0; });
    BOOST_TEST(opened.ec() == aborted);
    support::run_to_end(io); // Does not wait for the authenticator.
    BOOST_TEST(g.passed() == 0);
    BOOST_TEST(loop.stats().abandoned_calls == 1u);
    g.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
    BOOST_TEST(support::eventually([] { return guarded_daemon().clients() == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()
