// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "fake_stream.hpp"

#include <avirt/async_stream.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <memory>
#include <string>
#include <utility>

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;

/// A stream that is not open yet, and a connection on which it can be opened.
struct stream_fixture : support::loop_fixture
{
    explicit stream_fixture(avirt::event_loop_options options = {}) : loop_fixture(std::move(options))
    {
        fake_stream::violations();
        outcome opened;
        conn.async_open("test:///default", opened.handler());
        run_until([&] { return opened.calls() > 0; });
        BOOST_REQUIRE(!opened.ec());
    }

    ~stream_fixture()
    {
        stream.close();
        conn.close();
        support::run_to_end(io);
        fake.reset();
        BOOST_TEST(support::eventually([] { return fake_stream::alive() == 0; }));
        for (const auto& v : fake_stream::violations())
            BOOST_ERROR(v);
    }

    /// Opens the stream in this process: sending does not block.
    void open()
    {
        outcome opened;
        stream.async_open(
            conn, [](virConnectPtr, virStreamPtr) { return 0; }, opened.handler());
        run_until([&] { return opened.calls() > 0; });
        BOOST_REQUIRE(!opened.ec());
        fake = fake_stream::of(stream.native_handle());
    }

    /// Adopts a stream, as if a daemon were behind it: sending may block.
    void adopt()
    {
        fake = fake_stream::make();
        stream = avirt::async_stream(io.get_executor(), fake->pointer());
    }

    /// Runs the context until nothing is left to do.
    void settle()
    {
        int rest = 0;
        for (int round = 0; round < 10000 && rest < 50; ++round) {
            io.restart();
            rest = io.poll() == 0 ? rest + 1 : 0;
        }
        BOOST_REQUIRE(rest == 50);
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    void check(const outcome& o, const error_code& ec, std::size_t bytes = 0)
    {
        BOOST_TEST(o.calls() == 1);
        BOOST_TEST(o.ec() == ec);
        BOOST_TEST(o.bytes() == bytes);
    }

    avirt::connection conn{io};
    avirt::async_stream stream{io};
    std::shared_ptr<fake_stream> fake;
};

inline const error_code aborted = asio::error::operation_aborted;

inline std::string random_text(std::size_t size)
{
    std::string text(size, '\0');
    unsigned state = 12345;
    for (auto& c : text) {
        state = state * 1664525 + 1013904223;
        c = static_cast<char>(state >> 24);
    }
    return text;
}
