// SPDX-License-Identifier: BSL-1.0
#include "crowd_fixture.hpp"

#include <avirt/transfer_packets.hpp>
#include <support/open_files.hpp>
#include <support/resident_bytes.hpp>
#include <support/thread_count.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <list>

#include <malloc.h>

// Many streams at a time, and many more one after the other.

namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

/// What this process has allocated. AddressSanitizer and ThreadSanitizer replace the allocator: then it is 0.
std::size_t allocated_bytes()
{
    const auto heap = ::mallinfo2();
    return heap.uordblks + heap.hblkhd;
}

/// The resident memory without what the allocator could give back.
std::size_t trimmed_bytes()
{
    ::malloc_trim(0);
    return support::resident_bytes();
}

/// Runs the context until nothing is dispatched any more: the daemon waits for the readers.
void run_until_quiet(remote_fixture& f)
{
    for (std::uint64_t last = 0; last != f.loop.stats().dispatched;) {
        last = f.loop.stats().dispatched;
        f.io.restart();
        f.io.run_for(std::chrono::milliseconds(200));
    }
}

unsigned number_from(const char* variable, unsigned otherwise)
{
    const char* const text = std::getenv(variable);
    return text && *text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_crowd, crowd_fixture)

// Half of the visitors give up at a random moment. AVIRT_SOAK_SECONDS: again and again, for that time.
// AVIRT_SOAK_SEED: with other visitors.
BOOST_AUTO_TEST_CASE(a_thousand_streams_leave_nothing)
{
    using clock = std::chrono::steady_clock;
    constexpr std::size_t visitors = 1000;
    const auto seed = number_from("AVIRT_SOAK_SEED", 1);
    const auto start = clock::now();
    const auto end = start + std::chrono::seconds(number_from("AVIRT_SOAK_SECONDS", 0));
    BOOST_TEST_MESSAGE("seed " << seed);
    random.seed(seed);
    run_until([&] { return support::thread_count() == 1; });
    const auto watches = loop.stats().watches;
    const auto timeouts = loop.stats().timeouts;
    let_in(visitors / 4); // The allocator and libvirt take what they need.
    run_until([&] { return support::thread_count() == 1; });
    const auto files = support::open_files();
    const auto allocated = allocated_bytes();
    const auto memory = trimmed_bytes();
    std::size_t streams = 0;
    do {
        let_in(visitors);
        streams += visitors;
        run_until([&] { return support::thread_count() == 1 && support::open_files() <= files; });
        BOOST_TEST(loop.stats().watches == watches);
        BOOST_TEST(loop.stats().timeouts == timeouts);
        BOOST_TEST(!daemon.has_left());
        const auto allocated_now = allocated_bytes();
        const auto memory_now = trimmed_bytes();
        BOOST_TEST(allocated_now < allocated + mebibyte);
        // What little the threads keep is spread over the pages of all arenas; a sanitizer's keeps more.
        BOOST_TEST((allocated_now == 0 || memory_now < memory + 32 * mebibyte));
        BOOST_TEST_MESSAGE(
            std::chrono::duration_cast<std::chrono::seconds>(clock::now() - start).count()
            << " s: " << streams << " streams, " << allocated_now / 1024 << " KiB allocated (at first "
            << allocated / 1024 << "), " << memory_now / mebibyte << " MiB resident (" << memory / mebibyte
            << "), " << support::thread_count() << " thread, " << support::open_files() << " files");
    } while (clock::now() < end);
    BOOST_TEST_MESSAGE(
        "given up while opening: " << given_up[0] << ", in use: " << given_up[1]
                                   << ", while ending: " << given_up[2]);
    for (const auto n : given_up)
        BOOST_TEST(n > 0);
}

namespace {

struct download_in_progress
{
    avirt::async_stream stream;
    outcome latest{};
    std::size_t received = 0;
    std::array<char, 64 * 1024> buffer{};
};

} // namespace

// What is not read stays with the daemon.
BOOST_AUTO_TEST_CASE(two_hundred_downloads_of_slow_readers)
{
    constexpr std::size_t count = 200, size = 4 * mebibyte, packet = avirt::transfer_packets::largest_packet;
    const auto expected = content(make_volume("big", size));
    std::list<download_in_progress> downloads;
    for (std::size_t i = 0; i < count; ++i)
        downloads.push_back({avirt::async_stream(io)});
    const auto all_done = [&] {
        return std::all_of(downloads.begin(), downloads.end(), [](const auto& d) { return bool(d.latest); });
    };
    const auto read = [&](download_in_progress& d, std::size_t n) {
        d.latest = {};
        d.stream.async_read_some(asio::buffer(d.buffer, n), d.latest.handler());
    };
    const auto check_read = [&](download_in_progress& d) {
        BOOST_TEST_REQUIRE(
            expected.compare(d.received, d.latest.bytes(), d.buffer.data(), d.latest.bytes()) == 0);
        d.received += d.latest.bytes();
    };

    const auto before = trimmed_bytes();
    // The allocator of a sanitizer keeps what is freed.
    const auto grew_by_less_than = [&](std::size_t bytes) {
        return allocated_bytes() == 0 || trimmed_bytes() < before + bytes;
    };
    for (auto& d : downloads)
        d.stream.async_open(conn, download("big"), d.latest.handler());
    run_until(all_done);
    for (auto& d : downloads)
        BOOST_TEST_REQUIRE(d.latest.ec() == error_code());
    run_until_quiet(*this);
    BOOST_TEST(daemon.clients() == count + 1);
    BOOST_TEST(grew_by_less_than(40 * mebibyte));

    // libvirt has to take a whole packet for each of them, and takes no more.
    for (auto& d : downloads)
        read(d, 1);
    run_until(all_done);
    for (auto& d : downloads)
        check_read(d);
    run_until_quiet(*this);
    BOOST_TEST(grew_by_less_than(count * packet + 8 * mebibyte));

    for (bool is_over = false; !is_over;) {
        is_over = true;
        for (auto& d : downloads)
            if (!d.latest.ec())
                read(d, d.buffer.size());
        run_until(all_done);
        for (auto& d : downloads) {
            check_read(d);
            is_over = is_over && d.latest.ec();
        }
    }
    for (auto& d : downloads) {
        BOOST_TEST(d.latest.ec() == asio::error::eof);
        BOOST_TEST(d.received == size);
    }
}

BOOST_AUTO_TEST_SUITE_END()
