// SPDX-License-Identifier: BSL-1.0
#include "loop/connection_socket.hpp"
#include "loop/socket_scopes.hpp"

#include <support/loop_fixture.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <array>
#include <memory>

#include <sys/socket.h>
#include <unistd.h>

// libvirt hears nothing of a connection's socket before virConnectOpen calls the daemon.

namespace {

using avirt::detail::connection_socket;
using avirt::detail::opening_scope;

/// A watch on one end of a pair of sockets whose other end is closed.
class watch_of_lost_socket
{
public:
    watch_of_lost_socket()
    {
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) == 0);
        ::close(ends_[1]);
        const auto count = [](int, int, int, void* self) {
            ++static_cast<watch_of_lost_socket*>(self)->events_;
        };
        id_ = virEventAddHandle(ends_[0], VIR_EVENT_HANDLE_READABLE, count, this, nullptr);
        BOOST_REQUIRE(id_ > 0);
    }

    ~watch_of_lost_socket()
    {
        virEventRemoveHandle(id_);
        ::close(ends_[0]);
    }

    watch_of_lost_socket(const watch_of_lost_socket&) = delete;
    watch_of_lost_socket& operator=(const watch_of_lost_socket&) = delete;

    /// Disables and enables the watch, as a call to the daemon does.
    void call() const
    {
        virEventUpdateHandle(id_, 0);
        virEventUpdateHandle(id_, VIR_EVENT_HANDLE_READABLE);
    }

    int events() const noexcept
    {
        return events_;
    }

private:
    std::array<int, 2> ends_{};
    int id_ = 0;
    int events_ = 0;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(opening_scope_, support::loop_fixture)

BOOST_AUTO_TEST_CASE(a_socket_is_not_served_before_the_opening_thread_calls_the_daemon)
{
    const auto socket = std::make_shared<connection_socket>();
    const watch_of_lost_socket other;
    const opening_scope scope(socket);
    const watch_of_lost_socket opened;
    run_until([&] { return other.events() >= 10; });
    BOOST_TEST(opened.events() == 0);
    opened.call();
    run_until([&] { return opened.events() != 0; });
}

BOOST_AUTO_TEST_SUITE_END()
