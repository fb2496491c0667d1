// SPDX-License-Identifier: BSL-1.0
#include "stream_fixture.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <new>

// Reads and writes that follow each other allocate nothing: Asio's recycling allocators serve them.

namespace {

std::size_t allocations = 0;

} // namespace

void* operator new(std::size_t size)
{
    ++allocations;
    if (void* const memory = std::malloc(size))
        return memory;
    throw std::bad_alloc();
}

void operator delete(void* memory) noexcept
{
    std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept
{
    std::free(memory);
}

namespace {

constexpr int warm_up = 100;
constexpr int operations = 1000;

struct allocation_fixture : stream_fixture
{
    std::array<char, 1> byte{};
    int done = 0;
    std::size_t before = 0;

    /// Returns how many allocations there were after the first operations. In one run() of the context: Asio
    /// recycles no memory beyond that.
    std::size_t count()
    {
        io.restart();
        io.run();
        return allocations - before;
    }

    /// Returns whether there is more to do.
    bool note()
    {
        if (++done == warm_up)
            before = allocations;
        if (done == operations)
            io.stop();
        return done < operations;
    }
};

BOOST_FIXTURE_TEST_SUITE(stream_allocations, allocation_fixture)

BOOST_AUTO_TEST_CASE(reads_that_wait)
{
    open();
    fake->break_into(1);
    const std::function<void()> read = [&] {
        stream.async_read_some(asio::buffer(byte), [&](error_code, std::size_t) {
            if (note())
                read();
        });
    };
    fake->deliver(std::string(operations, 'x'));
    read();
    BOOST_TEST(count() == 0u);
}

BOOST_AUTO_TEST_CASE(reads_in_a_coroutine)
{
    open();
    fake->break_into(1);
    fake->deliver(std::string(operations, 'x'));
    const auto read = [&]() -> asio::awaitable<void> {
        while (note())
            co_await stream.async_read_some(asio::buffer(byte), asio::use_awaitable);
    };
    asio::co_spawn(io, read, [](std::exception_ptr) {});
    BOOST_TEST(count() == 0u);
}

BOOST_AUTO_TEST_CASE(writes)
{
    open();
    fake->take(operations);
    const std::function<void()> write = [&] {
        stream.async_write_some(asio::buffer(byte), [&](error_code, std::size_t) {
            if (note())
                write();
        });
    };
    write();
    BOOST_TEST(count() < 10u); // The fake stream's own: it keeps what it gets in a string.
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
