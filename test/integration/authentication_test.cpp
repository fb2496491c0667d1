// SPDX-License-Identifier: BSL-1.0
#include "operations.hpp"

#include <support/gate.hpp>
#include <support/temporary_directory.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <libvirt/virterror.h>

#include <fstream>
#include <span>
#include <stdexcept>
#include <vector>

// libvirt's test driver asks for a name and a password if its file requires them.

namespace {

/// A host that admits only the user "fred".
struct guarded_host
{
    const support::temporary_directory directory{"/tmp/avirt-auth-"};

    guarded_host()
    {
        std::ofstream(directory.path / "host.xml")
            << "<node><auth><user password='sesame'>fred</user></auth></node>";
    }

    std::string uri() const
    {
        return "test://" + (directory.path / "host.xml").string();
    }
};

struct authentication_rig : operations_fixture
{
    guarded_host host;
    std::vector<avirt::credential> asked;
    avirt::error_details why;

    /// Returns an authenticator that answers, and records what it was asked.
    avirt::authenticator answer(std::string password)
    {
        return [this, password](std::span<avirt::credential> credentials) {
            for (auto& c : credentials) {
                asked.push_back(c);
                c.result = c.type == VIR_CRED_AUTHNAME ? "fred" : password;
            }
            return true;
        };
    }

    error_code open(avirt::authenticator a)
    {
        avirt::open_options options;
        options.uri = host.uri();
        options.authenticate = std::move(a);
        outcome opened;
        conn.async_open(std::move(options), avirt::with_details(opened.handler(), why));
        run_until_done(opened);
        return opened.ec();
    }
};

BOOST_FIXTURE_TEST_SUITE(authentication, authentication_rig)

BOOST_AUTO_TEST_CASE(the_right_answers)
{
    BOOST_TEST(open(answer("sesame")) == error_code());
    BOOST_TEST(conn.is_open());
    BOOST_REQUIRE(asked.size() == 2u);
    BOOST_TEST(asked[0].type == int{VIR_CRED_AUTHNAME});
    BOOST_TEST(asked[0].prompt.find("username") != std::string::npos);
    BOOST_TEST((asked[1].type == VIR_CRED_PASSPHRASE || asked[1].type == VIR_CRED_NOECHOPROMPT));
    BOOST_TEST(asked[1].prompt.find("fred") != std::string::npos);
    BOOST_TEST(asked[1].result.empty());
}

BOOST_AUTO_TEST_CASE(a_wrong_answer)
{
    BOOST_TEST((open(answer("please")) == avirt::condition::denied));
    BOOST_TEST(why.code == int{VIR_ERR_AUTH_FAILED});
    BOOST_TEST(!conn.is_open());
    BOOST_TEST(open(answer("sesame")) == error_code());
}

BOOST_AUTO_TEST_CASE(the_authenticator_refuses)
{
    int calls = 0;
    const auto ec = open([&](auto) {
        ++calls;
        return false;
    });
    BOOST_TEST((ec == avirt::condition::denied));
    BOOST_TEST(calls == 1);
    BOOST_TEST(!why.message.empty());
}

BOOST_AUTO_TEST_CASE(without_an_authenticator)
{
    BOOST_TEST(open({}).failed());
    BOOST_TEST(why.message.find("authentication") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_authenticator_throws)
{
    const auto ec = open([](auto) -> bool { throw std::runtime_error("the key ring is locked"); });
    BOOST_TEST(ec == avirt::error::call_threw);
    BOOST_TEST(why.message == "the key ring is locked");
}

BOOST_AUTO_TEST_CASE(cancelled_while_the_authenticator_runs)
{
    support::gate g;
    avirt::open_options options;
    options.uri = host.uri();
    options.authenticate = g.entry(1);
    asio::cancellation_signal signal;
    outcome opened;
    conn.async_open(std::move(options), asio::bind_cancellation_slot(signal.slot(), opened.handler()));
    run_until([&] { return g.arrived() == 1; });
    signal.emit(asio::cancellation_type::terminal);
    run_until_done(opened);
    BOOST_TEST(opened.ec() == aborted);
    support::run_to_end(io); // run() does not wait for the authenticator.
    BOOST_TEST(g.passed() == 0);
    g.open();
    BOOST_TEST(support::eventually([&] { return loop.stats().abandoned_calls == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
