// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/avirt.hpp>
#include <support/libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/no_sleep.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>
#include <support/shared_daemon.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;
using support::shared_daemon;

extern "C" const unsigned char avirt_demo_guest[512];
extern "C" const unsigned char avirt_flood_guest[512];

inline const error_code aborted = asio::error::operation_aborted;

/// A connection to a libvirtd, and a stream. Checks that the loop's thread sleeps only in epoll_wait.
struct remote_fixture : support::loop_fixture
{
    support::libvirtd& daemon;
    const avirt::open_options how_to_open;
    const std::string uri = how_to_open.uri;
    avirt::connection conn{io};
    avirt::async_stream stream{io};

    remote_fixture() : remote_fixture(support::answering_daemon()) {}

    explicit remote_fixture(support::libvirtd& d) : remote_fixture(d, d.uri()) {}

    remote_fixture(support::libvirtd& d, const std::string& u) : remote_fixture(d, avirt::open_options{u}) {}

    remote_fixture(support::libvirtd& d, avirt::open_options o) : daemon(d), how_to_open(std::move(o))
    {
        open(conn);
    }

    ~remote_fixture()
    {
        daemon.thaw();
        stream.close();
        conn.close();
        support::run_to_end(io);
        BOOST_TEST(unexpected_sleeps.violations().empty());
        for (const auto& v : unexpected_sleeps.violations())
            BOOST_TEST_MESSAGE(v);
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    void open(avirt::connection& c)
    {
        outcome opened;
        avirt::error_details details;
        c.async_open(how_to_open, avirt::with_details(opened.handler(), details));
        run_until_done(opened);
        BOOST_TEST_INFO(details.message);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }

    /// Calls a function on the connection, and requires that it succeeds.
    template <class Function>
    void call(Function function)
    {
        outcome called;
        avirt::error_details why;
        conn.async_call(
            [function](virConnectPtr c) {
                function(c);
                return 0;
            },
            avirt::with_details(called.handler(), why));
        run_until_done(called);
        BOOST_TEST_REQUIRE(called.ec() == error_code(), why.message);
    }

    void make_pool()
    {
        call([xml = daemon.pool_xml()](virConnectPtr c) {
            virStoragePoolPtr pool = virStoragePoolLookupByName(c, "pool");
            if (!pool)
                pool = virStoragePoolCreateXML(c, xml.c_str(), 0);
            if (!pool || virStoragePoolRefresh(pool, 0) < 0)
                avirt::throw_last_error();
            virStoragePoolFree(pool);
        });
    }

    std::filesystem::path make_volume(const std::string& name, std::uint64_t size)
    {
        auto path = daemon.make_volume(name, size);
        make_pool();
        return path;
    }

    void define(const std::string& name, const unsigned char* boot_sector = avirt_demo_guest)
    {
        call([xml = daemon.guest_xml(name, boot_sector)](virConnectPtr c) {
            const avirt::domain guest{virDomainDefineXML(c, xml.c_str())};
            if (!guest)
                avirt::throw_last_error();
        });
    }

    void start_guest(const std::string& name, const unsigned char* boot_sector)
    {
        call([name, xml = daemon.guest_xml(name, boot_sector)](virConnectPtr c) {
            avirt::domain guest{virDomainLookupByName(c, name.c_str())};
            if (!guest)
                guest = avirt::domain{virDomainDefineXML(c, xml.c_str())};
            if (!guest || (virDomainIsActive(guest.get()) != 1 && virDomainCreate(guest.get()) < 0))
                avirt::throw_last_error();
        });
    }

    template <class Function>
    void on_guest(const std::string& name, Function function)
    {
        call([name, function](virConnectPtr c) {
            const avirt::domain guest{virDomainLookupByName(c, name.c_str())};
            if (!guest || function(guest.get()) < 0)
                avirt::throw_last_error();
        });
    }

    template <class Opener>
    void open_stream(avirt::async_stream& s, Opener opener)
    {
        outcome opened;
        avirt::error_details details;
        s.async_open(conn, std::move(opener), avirt::with_details(opened.handler(), details));
        run_until_done(opened);
        BOOST_TEST_INFO(details.message);
        BOOST_REQUIRE_EQUAL(opened.ec(), error_code());
    }

    template <class Opener>
    void open_stream(Opener opener)
    {
        open_stream(stream, std::move(opener));
    }

    /// Reads to the end, one buffer at a time.
    std::string receive(std::size_t buffer_size, outcome& read)
    {
        std::string result, buffer(buffer_size, '\0');
        for (read = {}; !read.ec();) {
            read = {};
            stream.async_read_some(asio::buffer(buffer), read.handler());
            run_until_done(read);
            result.append(buffer, 0, read.bytes());
        }
        return result;
    }

    std::string receive(std::size_t buffer_size)
    {
        outcome read;
        auto result = receive(buffer_size, read);
        BOOST_TEST(read.ec() == asio::error::eof);
        return result;
    }

    void send(const std::string& text, std::size_t buffer_size)
    {
        for (std::size_t sent = 0; sent < text.size();) {
            outcome written;
            stream.async_write_some(
                asio::buffer(text.data() + sent, std::min(buffer_size, text.size() - sent)),
                written.handler());
            run_until_done(written);
            BOOST_REQUIRE_EQUAL(written.ec(), error_code());
            BOOST_REQUIRE(written.bytes() > 0);
            sent += written.bytes();
        }
    }

    error_code finish()
    {
        outcome finished;
        stream.async_finish(finished.handler());
        run_until_done(finished);
        return finished.ec();
    }

    /// Cancels an operation, and checks that it is aborted.
    void check_cancellation(asio::cancellation_signal& signal, const outcome& o)
    {
        signal.emit(asio::cancellation_type::terminal);
        run_until_done(o);
        BOOST_TEST(o.ec() == aborted);
    }

    /// Opens the echo guest's console, and checks that it echoes.
    void converse()
    {
        start_guest("echo", avirt_demo_guest);
        open_stream(console("echo"));
        check_echo();
    }

    /// Sends a line through the stream to the echo guest's console, and waits for the echo.
    void check_echo()
    {
        std::string text;
        outcome written, read;
        asio::async_write(stream, asio::buffer("hello\r", 6), written.handler());
        asio::async_read_until(stream, asio::dynamic_buffer(text), "hello\r\n", read.handler());
        run_until_done(read);
        BOOST_TEST(read.ec() == error_code());
    }

    static avirt::volume_download download(const std::string& name)
    {
        return avirt::volume_download{{"pool", name}};
    }

    static avirt::volume_upload upload(const std::string& name)
    {
        return avirt::volume_upload{{"pool", name}};
    }

    static avirt::console console(const std::string& domain, unsigned flags = 0)
    {
        return avirt::console{domain, {}, flags};
    }

    static std::string content(const std::filesystem::path& path)
    {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    support::no_sleep unexpected_sleeps;
};
