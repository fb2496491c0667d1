// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "remote_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/write.hpp>

#include <chrono>
#include <cstddef>

/// Checks that have to pass over every transport to the daemon.
struct access_fixture : remote_fixture
{
    using remote_fixture::remote_fixture;

    void copy(std::size_t buffer_size)
    {
        const auto source = content(make_volume("source", 3'000'000));
        const auto path = make_volume("copy", 0);
        open_stream(upload("copy"));
        send(source, buffer_size);
        BOOST_TEST(finish() == error_code());
        BOOST_TEST((content(path) == source));
        open_stream(download("copy"));
        BOOST_TEST((receive(buffer_size) == source));
        BOOST_TEST(finish() == error_code());
    }

    /// Starts a write to a stopped daemon. Returns the volume's file.
    std::filesystem::path start_write_to_stopped(
        const std::string& text, asio::cancellation_signal& signal, const outcome& written)
    {
        auto path = make_volume("frozen", 0);
        open_stream(upload("frozen"));
        daemon.freeze();
        asio::async_write(
            stream, asio::buffer(text), asio::bind_cancellation_slot(signal.slot(), written.handler()));
        return path;
    }

    /// Writes more than the kernel buffers to a stopped daemon, then cancels the write or resumes the daemon.
    void write_while_it_is_stopped(bool cancel)
    {
        const std::string much(32 * 1024 * 1024, 'x');
        asio::cancellation_signal signal;
        outcome written;
        const auto path = start_write_to_stopped(much, signal, written);
        // Once the kernel's buffers are full, the loop dispatches nothing more.
        for (std::uint64_t last = 1; last != loop.stats().dispatched;) {
            last = loop.stats().dispatched;
            io.restart();
            io.run_for(std::chrono::milliseconds(200));
        }
        BOOST_TEST(!written);
        if (cancel) {
            check_cancellation(signal, written);
            return;
        }
        daemon.thaw();
        run_until_done(written);
        BOOST_TEST(written.ec() == error_code());
        BOOST_TEST(finish() == error_code());
        BOOST_TEST((content(path) == much));
    }

    /// Cancels a call to a stopped daemon, then closes the connection.
    void call_while_it_is_stopped()
    {
        daemon.freeze();
        asio::cancellation_signal signal;
        outcome called;
        conn.async_call(
            virConnectNumOfDomains, asio::bind_cancellation_slot(signal.slot(), called.handler()));
        run_until([&] { return loop.stats().running_calls == 1; });
        check_cancellation(signal, called);
        conn.close();
        support::run_to_end(io);
        BOOST_TEST(loop.is_idle());
    }
};
