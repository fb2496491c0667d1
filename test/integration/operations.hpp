// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/connection.hpp>
#include <avirt/domain_state.hpp>
#include <avirt/openers.hpp>
#include <avirt/picture.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/relay.hpp>
#include <avirt/send_all.hpp>
#include <avirt/sparse_transfer.hpp>
#include <avirt/volume_info.hpp>
#include <avirt/volume_transfer.hpp>
#include <support/fake_libvirtd.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>
#include <support/printing.hpp>
#include <support/temporary_directory.hpp>

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

namespace asio = boost::asio;
using avirt::error_code;
using support::outcome;
using wait_type = avirt::async_stream::wait_type;

inline const error_code aborted = asio::error::operation_aborted;

/// A daemon that sends a hole, when it is told to. libvirt's test driver does not know holes.
struct hole_daemon
{
    hole_daemon()
    {
        daemon.answer_keepalives();
    }

    ~hole_daemon()
    {
        gate.open();
    }

    support::gate gate;
    support::fake_libvirtd daemon{[pass = gate.entry()](auto& s) {
        pass();
        s.hole(20);
        s.data("x"); // So that the hole is known to end.
    }};
};

/// A daemon with one volume, and a file. libvirt's test driver does not transfer volumes.
struct volume_daemon
{
    volume_daemon()
    {
        daemon.answer_keepalives();
        const support::encoded info =
            support::xdr(int{VIR_STORAGE_VOL_FILE}, std::uint64_t{size}, std::uint64_t{size});
        daemon.answer(daemon.storage_vol_get_info, info);
        daemon.answer(daemon.storage_vol_get_info_flags, info);
        std::ofstream(file, std::ios::binary) << content;
    }

    static constexpr std::size_t size = 5000;
    const avirt::volume_locator volume = avirt::volume_locator::at_path("/vm");
    const std::string content = std::string(size, 'v');
    support::temporary_directory directory{"/tmp/avirt-files-"};
    const std::filesystem::path file = directory.path / "file";
    support::fake_libvirtd daemon{[this](auto& s) {
        s.data(content);
        s.eof();
    }};
};

/// A connection to libvirt's test driver, a stream and a buffer, which the operations use.
struct operations_fixture : support::loop_fixture
{
    explicit operations_fixture(avirt::event_loop_options options = {}) : loop_fixture(std::move(options)) {}

    ~operations_fixture()
    {
        stream.close();
        conn.close();
    }

    void run_until_done(const outcome& o)
    {
        run_until([&] { return o.calls() > 0; });
    }

    void open_connection(const std::string& uri = "test:///default")
    {
        outcome opened;
        conn.async_open(uri, opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE(!opened.ec());
    }

    void open_stream()
    {
        open_connection();
        outcome opened;
        stream.async_open(conn, avirt::screenshot{"test"}, opened.handler());
        run_until_done(opened);
        BOOST_REQUIRE(!opened.ec());
    }

    /// Opens the stream and waits until it has data, so that the next read completes at once.
    void make_readable()
    {
        open_stream();
        outcome readable;
        stream.async_wait(wait_type::read, readable.handler());
        run_until_done(readable);
    }

    void check(const outcome& o, const error_code& ec)
    {
        BOOST_TEST(o.calls() == 1);
        BOOST_TEST(o.ec() == ec);
    }

    /// Runs until an operation is done, and checks its result.
    void check_result(const outcome& o, const error_code& ec = {})
    {
        run_until_done(o);
        check(o, ec);
    }

    // Only for the operations that need them:
    std::shared_ptr<hole_daemon> holes{};
    std::shared_ptr<volume_daemon> volumes{};
    asio::local::stream_protocol::socket near_end{io};
    asio::local::stream_protocol::socket far_end{io};
    std::string all_received{};
    avirt::connection conn{io};
    avirt::async_stream stream{io};
    std::array<char, 4096> memory{};
};

/// One asynchronous operation, with functions that prepare and launch it.
template <class Launch>
struct operation
{
    const char* name;
    void (*prepare)(operations_fixture&);
    Launch launch;     // (operations_fixture&, token)
    bool is_immediate; // completes in its initiating function
    bool uses_object;  // uses the object on which it was launched until it completes
};

/// Makes operations, and calls visit(operation) with each.
template <class Visitor>
struct operation_visitor
{
    template <class Launch>
    void operator()(
        const char* name, void (*prepare)(operations_fixture&), Launch launch, bool is_immediate = false,
        bool uses_object = false) const
    {
        BOOST_TEST_CONTEXT(name)
        {
            visit(operation<Launch>{name, prepare, launch, is_immediate, uses_object});
        }
    }

    Visitor& visit;
};

inline void prepare_nothing(operations_fixture&) {}

inline void prepare_connection(operations_fixture& r)
{
    r.open_connection();
}

inline void prepare_stream(operations_fixture& r)
{
    r.open_stream();
}

inline void prepare_volume(operations_fixture& r)
{
    r.volumes = std::make_shared<volume_daemon>();
    r.open_connection(r.volumes->daemon.uri());
}

/// The far end has ended, which ends a relay with a stream that cannot be shut down in one direction.
inline void prepare_relay(operations_fixture& r)
{
    r.open_stream();
    asio::local::connect_pair(r.near_end, r.far_end);
    r.far_end.shutdown(r.far_end.shutdown_send);
}

/// Calls visit(operation) for an operation of each completion signature, which is all that an adapter of
/// tokens sees of an operation. All of them succeed.
template <class Visitor>
void for_each_signature(Visitor visit)
{
    const operation_visitor<Visitor> visit_one{visit};
    visit_one("connection.close", prepare_connection, [](operations_fixture& r, auto token) {
        return r.conn.async_close(std::move(token));
    });
    visit_one("connection.call", prepare_connection, [](operations_fixture& r, auto token) {
        return r.conn.async_call(virConnectNumOfDomains, std::move(token));
    });
    visit_one("stream.read", prepare_stream, [](operations_fixture& r, auto token) {
        return r.stream.async_read_some(asio::buffer(r.memory), std::move(token));
    });
    visit_one("volume_info", prepare_volume, [](operations_fixture& r, auto token) {
        return avirt::async_volume_info(r.conn, r.volumes->volume, std::move(token));
    });
    const auto relay = [](operations_fixture& r, auto token) {
        return avirt::async_relay(r.stream, r.near_end, std::move(token));
    };
    visit_one("relay", prepare_relay, relay, false, true);
}

/// Calls visit(operation) for every operation. All of them succeed.
template <class Visitor>
void for_each_operation(Visitor visit)
{
    for_each_signature(visit);
    const operation_visitor<Visitor> visit_one{visit};
    const auto readable = [](operations_fixture& r) { r.make_readable(); };
    visit_one("connection.open", prepare_nothing, [](operations_fixture& r, auto token) {
        return r.conn.async_open("test:///default", std::move(token));
    });
    visit_one("connection.open with options", prepare_nothing, [](operations_fixture& r, auto token) {
        avirt::open_options options{"test:///default"};
        options.read_only = true;
        return r.conn.async_open(std::move(options), std::move(token));
    });
    visit_one("connection.call without a result", prepare_connection, [](operations_fixture& r, auto token) {
        return r.conn.async_call([](virConnectPtr) {}, std::move(token));
    });
    visit_one(
        "connection.call on its own connection", prepare_connection, [](operations_fixture& r, auto token) {
            return r.conn.async_call(avirt::own_connection, virConnectNumOfDomains, std::move(token));
        });
    visit_one("wait for a state", prepare_connection, [](operations_fixture& r, auto token) {
        return avirt::async_wait_for_state(r.conn, "test", VIR_DOMAIN_RUNNING, std::move(token));
    });
    visit_one("loop.drain", prepare_nothing, [](operations_fixture& r, auto token) {
        return r.loop.async_drain(std::move(token));
    });
    visit_one("stream.open", prepare_connection, [](operations_fixture& r, auto token) {
        return r.stream.async_open(r.conn, avirt::screenshot{"test"}, std::move(token));
    });
    const auto read_at_once = [](operations_fixture& r, auto token) {
        return r.stream.async_read_some(asio::buffer(r.memory), std::move(token));
    };
    visit_one("stream.read at once", readable, read_at_once, true);
    const auto write_nothing = [](operations_fixture& r, auto token) {
        return r.stream.async_write_some(asio::const_buffer(), std::move(token));
    };
    visit_one("stream.write of zero bytes", prepare_stream, write_nothing, true);
    const auto wait_to_read = [](operations_fixture& r, auto token) {
        return r.stream.async_wait(wait_type::read, std::move(token));
    };
    visit_one("stream.wait", prepare_stream, wait_to_read);
    visit_one("stream.wait at once", readable, wait_to_read, true);
    const auto sparse = [](operations_fixture& r) {
        r.holes = std::make_shared<hole_daemon>();
        r.open_connection(r.holes->daemon.uri());
        avirt::volume_download volume{avirt::volume_locator::at_path("/vm")};
        volume.sparse = true;
        outcome opened;
        r.stream.async_open(r.conn, volume, opened.handler());
        r.run_until_done(opened);
        BOOST_REQUIRE(!opened.ec());
    };
    visit_one("stream.read_hole", sparse, [](operations_fixture& r, auto token) {
        const auto open = [](support::gate* g) { g->open(); };
        const std::unique_ptr<support::gate, decltype(open)> at_return(&r.holes->gate, open);
        return r.stream.async_read_hole(std::move(token));
    });
    const auto write_hole = [](operations_fixture& r, auto token) {
        return r.stream.async_write_hole(0, std::move(token));
    };
    visit_one("stream.write_hole", prepare_stream, write_hole, true);
    visit_one("stream.finish", prepare_stream, [](operations_fixture& r, auto token) {
        return r.stream.async_finish(std::move(token));
    });
    visit_one("stream.abort", prepare_stream, [](operations_fixture& r, auto token) {
        return r.stream.async_abort(std::move(token));
    });
    const auto upload = [](operations_fixture& r) {
        r.volumes = std::make_shared<volume_daemon>();
        r.open_connection(r.volumes->daemon.uri());
        outcome opened;
        r.stream.async_open(
            r.conn, avirt::volume_upload{r.volumes->volume, r.volumes->size}, opened.handler());
        r.run_until_done(opened);
        BOOST_REQUIRE(!opened.ec());
    };
    const auto download_to_file = [](operations_fixture& r) {
        r.volumes = std::make_shared<volume_daemon>();
        r.open_stream();
    };
    const auto receive_all = [](operations_fixture& r, auto token) {
        return avirt::async_receive_all(r.stream, asio::dynamic_buffer(r.all_received), {}, std::move(token));
    };
    visit_one("receive_all", prepare_stream, receive_all, false, true);
    const auto send_all = [](operations_fixture& r, auto token) {
        return avirt::async_send_all(r.stream, asio::buffer(r.volumes->content), {}, std::move(token));
    };
    visit_one("send_all", upload, send_all, false, true);
    visit_one("receive_sparse", download_to_file, [](operations_fixture& r, auto token) {
        return avirt::async_receive_sparse(r.stream, r.volumes->file, {}, std::move(token));
    });
    visit_one("send_sparse", upload, [](operations_fixture& r, auto token) {
        return avirt::async_send_sparse(r.stream, r.volumes->file, {}, std::move(token));
    });
    visit_one("screenshot", prepare_connection, [](operations_fixture& r, auto token) {
        return avirt::async_screenshot(r.conn, avirt::screenshot{"test"}, std::move(token));
    });
    visit_one("download", prepare_volume, [](operations_fixture& r, auto token) {
        const auto& v = *r.volumes;
        return avirt::async_download(r.conn, v.volume, v.directory.path / "copy", {}, std::move(token));
    });
    visit_one("upload", prepare_volume, [](operations_fixture& r, auto token) {
        return avirt::async_upload(r.conn, r.volumes->file, r.volumes->volume, {}, std::move(token));
    });
}

/// Calls a test with each operation, and with a fixture that is prepared for it.
template <class Test>
auto with_fixture(Test test)
{
    return [=](auto op) {
        operations_fixture r;
        op.prepare(r);
        test(op, r);
    };
}

template <class Test>
void for_each_prepared_operation(Test test)
{
    for_each_operation(with_fixture(test));
}

template <class Test>
void for_each_prepared_signature(Test test)
{
    for_each_signature(with_fixture(test));
}
