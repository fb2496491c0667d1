// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/avirt.hpp>
#include <support/fake_libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;

/// A stream on a connection to a daemon that the test scripts.
struct fake_fixture : support::loop_fixture
{
    avirt::connection conn{io};
    avirt::async_stream stream{io};

    ~fake_fixture()
    {
        stream.close();
        conn.close();
        support::run_to_end(io);
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    template <class Opener>
    void open(avirt::open_options options, Opener opener)
    {
        outcome opened, started;
        conn.async_open(std::move(options), opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
        stream.async_open(conn, std::move(opener), started.handler());
        run_until_done(started);
        BOOST_REQUIRE_EQUAL(started.ec(), error_code());
    }

    void open(const support::fake_libvirtd& daemon)
    {
        open(avirt::open_options{daemon.uri()}, avirt::console{"vm"});
    }

    /// Reads up to the first error, and checks that the next read reports the same error.
    std::string receive(std::size_t buffer_size, error_code& ec)
    {
        std::string result, buffer(buffer_size, '\0');
        outcome read;
        while (!read.ec()) {
            read = {};
            stream.async_read_some(asio::buffer(buffer), read.handler());
            run_until_done(read);
            result.append(buffer, 0, read.bytes());
        }
        ec = read.ec();
        outcome again;
        stream.async_read_some(asio::buffer(buffer), again.handler());
        run_until_done(again);
        BOOST_TEST(again.ec() == ec);
        return result;
    }
};
