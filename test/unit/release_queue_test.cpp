// SPDX-License-Identifier: BSL-1.0
#include "core/release_queue.hpp"

#include <support/gate.hpp>
#include <support/loop_fixture.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <stdexcept>

#include <sys/socket.h>
#include <unistd.h>

// A release waits for a daemon only if it must.

namespace {

namespace asio = boost::asio;
using avirt::detail::release_apart;
using avirt::detail::release_later;
using support::eventually;
using support::gate;

/// A connection's socket, as libvirt sees it.
class fake_socket
{
public:
    fake_socket()
    {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_.data()) != 0)
            throw std::runtime_error("socketpair");
        watch_ = virEventAddHandle(
            ends_[0], VIR_EVENT_HANDLE_READABLE, [](int, int, int, void*) {}, nullptr, nullptr);
    }

    ~fake_socket()
    {
        virEventRemoveHandle(watch_);
        ::close(ends_[0]);
        ::close(ends_[1]);
    }

    fake_socket(const fake_socket&) = delete;
    fake_socket& operator=(const fake_socket&) = delete;

    /// Disables the watch on the calling thread, as a call to the daemon does.
    void begin_call() const
    {
        virEventUpdateHandle(watch_, 0);
    }

    bool is_shut_down() const
    {
        char c = 0;
        return ::recv(ends_[1], &c, 1, 0) == 0;
    }

private:
    std::array<int, 2> ends_{};
    int watch_ = -1;
};

struct last_reference
{
    fake_socket socket;
    gate answered;

    static void drop(void* self)
    {
        const auto& r = *static_cast<last_reference*>(self);
        r.socket.begin_call();
        r.answered.entry()();
    }
};

struct release_fixture
{
    asio::io_context io;
    std::optional<avirt::event_loop> loop{std::in_place, io};
    std::atomic<int> released{0};

    ~release_fixture()
    {
        BOOST_CHECK_NO_THROW(support::run_to_end(io));
    }

    static void note(void* self)
    {
        ++static_cast<release_fixture*>(self)->released;
    }

    void run_until(const std::function<bool()>& done)
    {
        support::run_until(io, done);
    }
};

BOOST_FIXTURE_TEST_SUITE(release_queue, release_fixture)

BOOST_AUTO_TEST_CASE(each_reference_is_released_once)
{
    constexpr int count = 5000;
    for (int i = 0; i < count; ++i)
        release_later(&note, this);
    BOOST_TEST(eventually([&] { return loop->is_idle(); }));
    BOOST_TEST(released == count);
}

BOOST_AUTO_TEST_CASE(a_release_that_waits_for_its_daemon_delays_no_other)
{
    last_reference stuck, stuck_too;
    for (auto* r : {&stuck, &stuck_too}) {
        release_later(&last_reference::drop, r);
        for (int i = 0; i < 100; ++i)
            release_later(&note, this);
    }
    BOOST_TEST(eventually([&] { return released == 200; }));
    BOOST_TEST(stuck.answered.passed() + stuck_too.answered.passed() == 0);
    BOOST_TEST(!loop->is_idle());
    stuck.answered.open();
    stuck_too.answered.open();
    BOOST_TEST(eventually([&] { return stuck.answered.passed() + stuck_too.answered.passed() == 2; }));
}

BOOST_AUTO_TEST_CASE(a_release_that_is_known_to_block_delays_no_other)
{
    last_reference stuck;
    const auto wait = [](void* r) { static_cast<last_reference*>(r)->answered.entry()(); };
    release_apart(wait, &stuck);
    for (int i = 0; i < 100; ++i)
        release_later(&note, this);
    BOOST_TEST(eventually([&] { return released == 100; }));
    BOOST_TEST(stuck.answered.passed() == 0);
    stuck.answered.open();
    BOOST_TEST(eventually([&] { return stuck.answered.passed() == 1; }));
}

BOOST_AUTO_TEST_CASE(a_daemon_that_does_not_answer_is_cut_off)
{
    last_reference stuck;
    release_later(&last_reference::drop, &stuck);
    run_until([&] { return stuck.socket.is_shut_down(); });
    stuck.answered.open();
    BOOST_TEST(eventually([&] { return stuck.answered.passed() == 1; }));
}

BOOST_AUTO_TEST_CASE(with_no_loop_bound_the_daemon_is_cut_off_by_the_next_loop)
{
    last_reference stuck;
    loop.reset();
    release_later(&last_reference::drop, &stuck);
    BOOST_TEST(eventually([&] { return stuck.answered.arrived() == 1; }));
    BOOST_TEST(!stuck.socket.is_shut_down());
    loop.emplace(io);
    run_until([&] { return stuck.socket.is_shut_down(); });
    stuck.answered.open();
    BOOST_TEST(eventually([&] { return stuck.answered.passed() == 1; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
