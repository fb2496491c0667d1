// SPDX-License-Identifier: BSL-1.0

// Dispatching allocates no memory in the steady state.
#include "files.hpp"
#include "lifecycle_child.hpp"
#include "lifecycle_probe.hpp"

#include <avirt/event_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdlib>
#include <new>

// The sanitizers have allocators of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define AVIRT_TEST_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define AVIRT_TEST_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef AVIRT_TEST_COUNTS_ALLOCATIONS
#define AVIRT_TEST_COUNTS_ALLOCATIONS 1
#endif

#if AVIRT_TEST_COUNTS_ALLOCATIONS

namespace {

thread_local std::size_t allocations = 0;

} // namespace

// glibc allows a program to replace an allocator's functions one by one: every call of malloc leads here.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t size);

extern "C" void* malloc(std::size_t size) noexcept
{
    ++allocations;
    return __libc_malloc(size);
}

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept
{
    ++allocations;
    return __libc_memalign(alignment, size);
}

namespace conformance {

BOOST_AUTO_TEST_SUITE(
    lifecycle_allocation,
    *boost::unit_test::description("Dispatching allocates no memory in the steady state."))

BOOST_AUTO_TEST_CASE(dispatching_allocates_nothing)
{
    expect_success([] {
        constexpr int warm = 1000;
        constexpr int measured = 10000;
        const auto ends = make_socket_pair();
        boost::asio::io_context io{1};
        const avirt::event_loop loop{io};
        std::size_t before = 0;
        std::size_t counted = 0;
        // As a stream does for each packet: the watch enables the timeout, and the timeout disables itself.
        probe timer{[](probe& self) { self.update(-1); }};
        probe sleeping;
        probe watch{[&](probe& self) {
            self.update(VIR_EVENT_HANDLE_READABLE);
            timer.update(0);
            sleeping.update(self.calls() % 2 == 0 ? 3'600'000 : 7'200'000);
            if (self.calls() == warm)
                before = allocations;
            if (self.calls() == warm + measured) {
                counted = allocations - before;
                self.remove();
                timer.remove();
                sleeping.remove();
            }
        }};
        put(ends.peer.get(), "x");
        timer.timer(-1);
        sleeping.timer(3'600'000);
        watch.watch(ends.ours.get(), VIR_EVENT_HANDLE_READABLE);
        io.run();
        expect(timer.calls() >= warm, "the timeout was not served");
        expect(before > 0, "allocations are not counted");
        expect(counted == 0, "dispatching allocated");
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance

#endif
