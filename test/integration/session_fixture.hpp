// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "console_viewer.hpp"
#include "remote_fixture.hpp"
#include "supervision_fixture.hpp"

#include <avirt/console_session.hpp>
#include <avirt/supervised_connection.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <string>

/// Adds what sessions need to a fixture with a supervised connection `host`.
template <class Fixture>
struct with_sessions : Fixture
{
    using Fixture::Fixture;

    error_code wait_for(avirt::console_session& session, avirt::console_state state)
    {
        outcome reached;
        session.async_wait_for(state, reached.handler());
        try {
            this->run_until_done(reached);
        }
        catch (...) {
            BOOST_TEST_ERROR(
                "the session is " << to_string(session.state()) << ": " << session.reason().message
                                  << ", and was to be " << to_string(state));
            throw;
        }
        return reached.ec();
    }

    void reach(avirt::console_session& session, avirt::console_state state)
    {
        BOOST_TEST_INFO(session.reason().message);
        BOOST_REQUIRE_EQUAL(wait_for(session, state), error_code());
    }

    error_code write(avirt::console_session& session, const std::string& text)
    {
        outcome written;
        asio::async_write(session, asio::buffer(text), written.handler());
        this->run_until_done(written);
        return written.ec();
    }

    /// Types a line, and waits until a view has seen the echo.
    void check_echo(avirt::console_session& session, const std::string& line = "hello")
    {
        console_viewer viewer(session);
        BOOST_REQUIRE_EQUAL(write(session, line + "\r"), error_code());
        this->run_until([&] { return viewer.has(line + "\r\n"); });
    }

    error_code start(avirt::console_session& session)
    {
        outcome started;
        avirt::error_details why;
        session.async_start(avirt::with_details(started.handler(), why));
        this->run_until_done(started);
        BOOST_TEST_MESSAGE(why.message);
        return started.ec();
    }

    int state_of(const std::string& name)
    {
        int state = VIR_DOMAIN_NOSTATE;
        this->on_guest(name, [&](virDomainPtr d) { return virDomainGetState(d, &state, nullptr, 0); });
        return state;
    }

    void destroy(const std::string& name)
    {
        this->on_guest(name, &virDomainDestroy);
    }
};

struct on_shared_daemon : remote_fixture
{
    avirt::supervised_connection host{io, options()};

    ~on_shared_daemon()
    {
        host.close();
    }

    avirt::supervision_options options() const
    {
        avirt::supervision_options o;
        o.open.uri = uri;
        return o;
    }
};

using session_fixture = with_sessions<on_shared_daemon>;
/// For tests that end the daemon.
using own_daemon_session_fixture = with_sessions<supervision_fixture>;
