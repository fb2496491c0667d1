// SPDX-License-Identifier: BSL-1.0

// Files as the source and the sink of a transfer.
#include "transfer/file_reader.hpp"
#include "transfer/file_worker.hpp"
#include "transfer/file_writer.hpp"

#include <support/coroutine.hpp>
#include <support/gate.hpp>
#include <support/loop_fixture.hpp>
#include <support/no_sleep.hpp>
#include <support/printing.hpp>
#include <support/temporary_directory.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using avirt::detail::failure;
using avirt::detail::file_reader;
using avirt::detail::file_worker;
using avirt::detail::file_writer;
using support::gate;

constexpr std::size_t mebibyte = 1024 * 1024;

/// Coroutines on a thread that may sleep in epoll_wait only.
struct file_fixture : support::loop_fixture
{
    support::temporary_directory directory{"/tmp/avirt-files-"};
    const fs::path path = directory.path / "disk.img";
    const fs::path part = directory.path / ".disk.img.part";
    asio::any_io_executor executor{io.get_executor()};
    support::no_sleep unexpected_sleeps;

    ~file_fixture()
    {
        BOOST_TEST(unexpected_sleeps.violations().empty());
        for (const auto& v : unexpected_sleeps.violations())
            BOOST_TEST_MESSAGE(v);
    }

    template <class Coroutine>
    void run(Coroutine coroutine)
    {
        support::run_coroutine(*this, coroutine());
    }

    /// Text of which no two blocks are equal.
    static std::string text(std::size_t size)
    {
        std::string result(size, '\0');
        for (std::size_t i = 0; i < size; ++i)
            result[i] = static_cast<char>('a' + (i + i / 4096) % 23);
        return result;
    }

    static std::string content(const fs::path& p)
    {
        std::ifstream file(p, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
};

void check(const failure& f)
{
    BOOST_TEST_REQUIRE(!f.code.failed(), f.details.message);
}

/// Reads to the end, holes as zeros.
asio::awaitable<std::string> read_all(file_reader& reader, std::size_t buffer_size)
{
    std::string all, buffer(buffer_size, '\0');
    for (;;) {
        const auto read = co_await reader.read_some(asio::buffer(buffer));
        all.append(buffer, 0, read.bytes);
        if (read.error.code == asio::error::eof)
            co_return all;
        if (read.error.code == avirt::error::at_hole) {
            const auto hole = co_await reader.read_hole();
            check(hole.error);
            all.append(hole.length, '\0');
        }
        else {
            check(read.error);
        }
    }
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(file_transfer, file_fixture)

BOOST_AUTO_TEST_CASE(a_file_is_read)
{
    const auto data = text(5 * mebibyte + 12345);
    std::ofstream(path, std::ios::binary) << data;
    run([&]() -> asio::awaitable<void> {
        file_reader reader(executor, path, file_reader::holes::of_file_system);
        check(co_await reader.open());
        BOOST_TEST(reader.size() == data.size());
        check(co_await reader.start(0, reader.size()));
        const auto all = co_await read_all(reader, 100'000);
        BOOST_TEST((all == data));
        const auto again = co_await read_all(reader, 100'000);
        BOOST_TEST(again.empty());
        check(co_await reader.start(4'000'000, 4'000'010));
        const auto few = co_await read_all(reader, 7);
        BOOST_TEST(few == data.substr(4'000'000, 10));
        // Before what has been read ahead is used.
        check(co_await reader.start(0, reader.size()));
        check(co_await reader.start(1'000'000, 3'000'000));
        const auto some = co_await read_all(reader, mebibyte);
        BOOST_TEST((some == data.substr(1'000'000, 2'000'000)));
    });
}

BOOST_AUTO_TEST_CASE(an_empty_file)
{
    std::ofstream(path).close();
    run([&]() -> asio::awaitable<void> {
        {
            file_reader reader(executor, path, file_reader::holes::zeros);
            check(co_await reader.open());
            check(co_await reader.start(0, reader.size()));
            const auto all = co_await read_all(reader, 100);
            BOOST_TEST(all.empty());
        }
        file_writer writer(executor, directory.path / "copy", false);
        check(co_await writer.open());
        check(co_await writer.flush());
        check(co_await writer.complete());
        co_await writer.close();
    });
    BOOST_TEST(fs::file_size(directory.path / "copy") == 0u);
}

BOOST_AUTO_TEST_CASE(holes_in_and_between_the_data)
{
    const auto data = text(mebibyte);
    std::string zeros(mebibyte, '\0');
    std::ofstream(path, std::ios::binary) << data << zeros << data;
    fs::resize_file(path, 40 * mebibyte);
    run([&]() -> asio::awaitable<void> {
        file_reader reader(executor, path, file_reader::holes::zeros);
        check(co_await reader.open());
        check(co_await reader.start(0, reader.size()));
        std::uint64_t offset = 0;
        std::uint64_t in_holes = 0;
        for (;;) {
            const auto f = co_await reader.peek();
            if (f.code == asio::error::eof)
                break;
            check(f);
            const auto length = reader.hole_length() ? reader.hole_length() : reader.data().size();
            in_holes += reader.hole_length();
            offset += length;
            check(reader.consume(length));
        }
        BOOST_TEST(offset == 40 * mebibyte);
        BOOST_TEST(in_holes > 38 * mebibyte - 65536); // The end of a run may be in the next chunk.
        check(co_await reader.start(0, reader.size()));
        const auto all = co_await read_all(reader, 300'000);
        BOOST_TEST((all == data + zeros + data + std::string(37 * mebibyte, '\0')));
    });
}

BOOST_AUTO_TEST_CASE(a_file_is_written)
{
    const auto data = text(5 * mebibyte);
    std::ofstream(path, std::ios::binary) << "old";
    run([&]() -> asio::awaitable<void> {
        file_writer writer(executor, path, false);
        check(co_await writer.open());
        for (const std::size_t size : {1'000'000U, 300'000U, 2'500'000U}) {
            const auto written = co_await writer.write(asio::buffer(data, size));
            check(written.error);
            BOOST_TEST(written.bytes == size);
            check(co_await writer.write_hole(mebibyte));
            check(co_await writer.write_hole(mebibyte));
        }
        check(co_await writer.flush());
        BOOST_TEST(content(path) == "old");
        check(co_await writer.complete());
        co_await writer.close();
    });
    const std::string hole(2 * mebibyte, '\0');
    BOOST_TEST(
        (content(path)
         == data.substr(0, 1'000'000) + hole + data.substr(0, 300'000) + hole + data.substr(0, 2'500'000)
             + hole));
    BOOST_TEST(!fs::exists(part));
}

BOOST_AUTO_TEST_CASE(an_interrupted_file)
{
    const auto data = text(2'500'000);
    for (const bool resumes : {false, true}) {
        for (const bool is_closed : {true, false}) {
            run([&]() -> asio::awaitable<void> {
                file_writer writer(executor, path, resumes);
                check(co_await writer.open());
                const auto begin = writer.found();
                const auto written =
                    co_await writer.write(asio::buffer(data) + static_cast<std::size_t>(begin));
                check(written.error);
                if (is_closed) {
                    co_await writer.close();
                    BOOST_TEST(fs::exists(part) == resumes);
                }
            });
            run_until([&] { return fs::exists(part) == resumes; });
            if (!resumes)
                continue;
            run_until([&] { return fs::file_size(part) == data.size(); });
            BOOST_TEST((content(part) == data));
            fs::resize_file(part, 1'234'567);
        }
    }
    BOOST_TEST(!fs::exists(path));
}

BOOST_AUTO_TEST_CASE(a_wrong_file_is_not_kept)
{
    run([&]() -> asio::awaitable<void> {
        file_writer writer(executor, path, true);
        check(co_await writer.open());
        check((co_await writer.write(asio::buffer("wrong", 5))).error);
        check(co_await writer.flush());
        check(co_await writer.spoil());
        co_await writer.close();
    });
    BOOST_TEST(!fs::exists(part));
}

BOOST_AUTO_TEST_CASE(a_failure_of_the_file_ends_the_writing)
{
    run([&]() -> asio::awaitable<void> {
        file_writer writer(executor, path, true);
        check(co_await writer.open());
        check(co_await writer.write_hole(std::uint64_t{1} << 62));
        check((co_await writer.write(asio::buffer("x", 1))).error);
        const auto f = co_await writer.flush();
        BOOST_TEST(f.code.failed());
        BOOST_TEST(f.details.message.find("offset 4611686018427387904") != std::string::npos);
        co_await writer.close();
    });
    // And one that is noticed while later chunks are being written.
    run([&]() -> asio::awaitable<void> {
        file_writer writer(executor, path, false);
        check(co_await writer.open());
        check(co_await writer.write_hole(std::uint64_t{1} << 62));
        const auto data = text(20 * mebibyte);
        const auto written = co_await writer.write(asio::buffer(data));
        BOOST_TEST(written.error.code.failed());
        BOOST_TEST(written.bytes < data.size());
        BOOST_TEST(written.error.details.message.find(path.string()) != std::string::npos);
        co_await writer.close();
    });
    BOOST_TEST(!fs::exists(part));
}

BOOST_AUTO_TEST_CASE(zeros_that_are_written_become_holes)
{
    const auto data = text(mebibyte) + std::string(8 * mebibyte, '\0') + "end";
    run([&]() -> asio::awaitable<void> {
        file_writer writer(executor, path, false);
        check(co_await writer.open());
        writer.find_zeros();
        check((co_await writer.write(asio::buffer(data))).error);
        check(co_await writer.flush());
        check(co_await writer.complete());
        co_await writer.close();
    });
    BOOST_TEST((content(path) == data));
    struct stat status
    {
    };
    ::stat(path.c_str(), &status);
    BOOST_TEST(status.st_blocks * 512 <= static_cast<long>(mebibyte + 65536));
}

BOOST_AUTO_TEST_CASE(steps_are_executed_in_order_and_elsewhere)
{
    const auto worker = file_worker::make(executor);
    run([&]() -> asio::awaitable<void> {
        std::string order;
        bool is_elsewhere = true; // Boost.Test's checks are for one thread at a time.
        const auto self = std::this_thread::get_id();
        std::uint64_t last = 0;
        failure f;
        for (const char c : {'a', 'b', 'c'}) {
            last = worker->post(
                [&order, &is_elsewhere, c, self] {
                    is_elsewhere = is_elsewhere && std::this_thread::get_id() != self;
                    order += c;
                },
                f);
        }
        check(f);
        check(co_await worker->wait(last));
        BOOST_TEST(is_elsewhere);
        BOOST_TEST(order == "abc");
        const auto fail = [] { return failure(avirt::error::not_open); };
        const auto failed = co_await worker->run(fail);
        BOOST_TEST(failed.code == avirt::error::not_open);
    });
}

BOOST_AUTO_TEST_CASE(a_wait_can_be_cancelled)
{
    const auto worker = file_worker::make(executor);
    gate g;
    asio::cancellation_signal signal;
    std::optional<failure> result;
    failure none;
    const auto number = worker->post([pass = g.entry()] { pass(); }, none);
    const auto wait = [&]() -> asio::awaitable<void> { result = co_await worker->wait(number); };
    asio::co_spawn(io, wait(), asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
    run_until([&] { return g.arrived() == 1; });
    signal.emit(asio::cancellation_type::terminal);
    run_until([&] { return result.has_value(); });
    BOOST_TEST(result->code == asio::error::operation_aborted);
}

/// Runs a step that fails when the gate is opened, and cancels the wait for it.
struct cancelled_step : file_fixture
{
    gate g;
    asio::cancellation_signal signal;
    std::optional<failure> result;

    cancelled_step()
    {
        const auto worker = file_worker::make(executor);
        const auto wait = [this, worker]() -> asio::awaitable<void> {
            const auto fail = [pass = g.entry()] {
                pass();
                return failure(avirt::error::not_open);
            };
            result = co_await worker->run(fail, file_worker::cancellation::delayed);
        };
        asio::co_spawn(io, wait, asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
        run_until([&] { return g.arrived() == 1; });
        signal.emit(asio::cancellation_type::terminal);
        io.restart();
        io.poll();
        BOOST_TEST(!result);
    }
};

// When a file gets its name, it must be known whether it has it.
BOOST_FIXTURE_TEST_CASE(a_delayed_cancellation_waits_for_the_step, cancelled_step)
{
    g.open();
    run_until([&] { return result.has_value(); });
    BOOST_TEST(result->code == avirt::error::not_open);
    support::run_to_end(io); // The time limit keeps nothing running.
}

BOOST_FIXTURE_TEST_CASE(a_delayed_cancellation_does_not_wait_for_a_file_system_that_hangs, cancelled_step)
{
    run_until([&] { return result.has_value(); });
    BOOST_TEST(result->code == asio::error::operation_aborted);
    g.open();
}

BOOST_AUTO_TEST_CASE(the_end_does_not_wait_for_a_file_system_that_hangs)
{
    const auto worker = file_worker::make(executor);
    gate g;
    std::atomic<int> executed = 0;
    failure none;
    worker->post([pass = g.entry()] { pass(); }, none);
    worker->post([&] { ++executed; }, none);
    run_until([&] { return g.arrived() == 1; });
    run([&]() -> asio::awaitable<void> {
        worker->end_with([&] { executed += 10; }, file_worker::unstarted::drop);
        co_await worker->wait_for_end();
        BOOST_TEST(executed == 0);
    });
    support::run_to_end(io); // The loop does not wait either.
    g.open();
    run_until([&] { return executed == 10; });
}

BOOST_AUTO_TEST_CASE(a_coroutine_that_waits_is_destroyed_with_its_context)
{
    gate g;
    auto context = std::make_unique<asio::io_context>();
    const auto owned = std::make_shared<int>(0);
    const auto worker = file_worker::make(context->get_executor());
    failure none;
    const auto number = worker->post([pass = g.entry()] { pass(); }, none);
    const auto wait = [](std::shared_ptr<int>, std::shared_ptr<file_worker> w,
                         std::uint64_t n) -> asio::awaitable<void> { co_await w->wait(n); };
    asio::co_spawn(*context, wait(owned, worker, number), [](std::exception_ptr) {});
    context->poll();
    BOOST_TEST(owned.use_count() == 2);
    context.reset();
    BOOST_TEST(owned.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
