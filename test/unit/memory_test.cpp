// SPDX-License-Identifier: BSL-1.0
#include <avirt/connection.hpp>
#include <avirt/event_loop.hpp>
#include <support/loop_fixture.hpp>
#include <support/outcome.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <new>
#include <optional>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

// If there is no memory left, no exception passes through libvirt's frames or leaves a function that must not
// throw, and nothing is lost.

namespace {

thread_local bool has_memory = true;

/// While an object of this class exists, its thread gets no memory.
struct no_memory
{
    no_memory() noexcept
    {
        has_memory = false;
    }

    ~no_memory()
    {
        has_memory = true;
    }

    no_memory(const no_memory&) = delete;
    no_memory& operator=(const no_memory&) = delete;
};

} // namespace

// glibc allows a program to replace an allocator's functions one by one.
extern "C" void* __libc_malloc(std::size_t size);

extern "C" void* malloc(std::size_t size) noexcept
{
    return has_memory ? __libc_malloc(size) : nullptr;
}

namespace {

namespace asio = boost::asio;
using support::outcome;

struct memory_fixture
{
    asio::io_context io;
    std::optional<avirt::event_loop> loop{std::in_place, io};
    std::array<int, 2> ends{};
    int freed = 0;
    static constexpr int count = 64;

    memory_fixture()
    {
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
    }

    ~memory_fixture()
    {
        ::close(ends[0]);
        ::close(ends[1]);
        BOOST_CHECK_NO_THROW(support::run_to_end(io));
    }

    int add_handle()
    {
        return virEventAddHandle(
            ends[0], VIR_EVENT_HANDLE_READABLE, [](int, int, int, void*) {}, this, &note);
    }

    int add_timeout(int interval)
    {
        return virEventAddTimeout(
            interval, [](int, void*) {}, this, &note);
    }

    static void note(void* self)
    {
        ++static_cast<memory_fixture*>(self)->freed;
    }
};

BOOST_FIXTURE_TEST_SUITE(memory, memory_fixture)

BOOST_AUTO_TEST_CASE(removed_watches_and_timeouts_are_freed_once)
{
    std::deque<int> watches, timers;
    for (int i = 0; i < count; ++i) {
        watches.push_back(add_handle());
        timers.push_back(add_timeout(i % 2 == 0 ? 0 : 1'000'000));
    }
    support::run_until(io, [&] { return loop->stats().dispatched > 0; });
    int removed = 0;
    {
        const no_memory none;
        for (int i = 0; i < count; ++i) {
            virEventUpdateTimeout(timers[static_cast<std::size_t>(i)], -1);
            removed += virEventRemoveHandle(watches[static_cast<std::size_t>(i)]) == 0 ? 1 : 0;
            removed += virEventRemoveTimeout(timers[static_cast<std::size_t>(i)]) == 0 ? 1 : 0;
        }
    }
    BOOST_TEST(removed == 2 * count);
    BOOST_TEST(freed == 0);
    support::run_to_end(io);
    BOOST_TEST(freed == 2 * count);
    BOOST_TEST(loop->is_idle());
}

BOOST_AUTO_TEST_CASE(watches_removed_with_no_loop_bound_are_freed_once)
{
    std::deque<int> watches;
    for (int i = 0; i < count; ++i)
        watches.push_back(add_handle());
    loop.reset();
    std::atomic<int> removed = 0;
    {
        const no_memory none;
        for (const int w : watches)
            removed += virEventRemoveHandle(w) == 0 ? 1 : 0;
    }
    BOOST_TEST(removed == count);
    loop.emplace(io); // avirt's threads and the loop share the work.
    support::run_until(io, [&] { return loop->is_idle(); });
    BOOST_TEST(freed == count);
}

BOOST_AUTO_TEST_CASE(a_failed_addition_leaves_nothing_behind)
{
    const int watch = add_handle();
    int refused = 0;
    {
        const no_memory none;
        for (int i = 0; i < count; ++i) {
            refused += add_handle() < 0 ? 1 : 0;
            refused += add_timeout(0) < 0 ? 1 : 0;
        }
    }
    BOOST_TEST(refused == 2 * count);
    BOOST_TEST(loop->stats().watches == 1u);
    BOOST_TEST(loop->stats().timeouts == 0u);
    BOOST_TEST(virEventRemoveHandle(watch) == 0);
    support::run_to_end(io);
    BOOST_TEST(freed == 1);
}

BOOST_AUTO_TEST_CASE(handles_and_connections_are_released)
{
    auto* plain = virConnectOpen("test:///default");
    BOOST_REQUIRE(plain);
    std::deque<avirt::domain> domains;
    for (int i = 0; i < count; ++i)
        domains.emplace_back(virDomainLookupByName(plain, "test"));
    std::optional<avirt::connection> conn(std::in_place, io.get_executor(), plain);
    outcome called; // The call starts a worker thread.
    conn->async_call(virConnectNumOfDomains, called.handler());
    support::run_until(io, [&] { return called.calls() > 0; });
    {
        const no_memory none;
        for (auto& d : domains)
            d = {};
        conn->close();
    }
    support::run_until(io, [&] { return loop->is_idle(); });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
