// SPDX-License-Identifier: BSL-1.0
#include "remote_fixture.hpp"

#include <support/open_files.hpp>
#include <support/resident_bytes.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include <sys/resource.h>

// Many streams, of which half are given up at a random moment.

namespace {

constexpr std::size_t volume_size = 600'000;

struct crowd_daemon
{
    support::libvirtd own;
};

struct crowd_fixture : crowd_daemon, remote_fixture
{
    std::minstd_rand random{1};
    std::string content_of_volume;
    int present = 0; // visitors that have not left

    crowd_fixture() : remote_fixture(own)
    {
        rlimit files{};
        ::getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
        content_of_volume = content(make_volume("crowd", volume_size));
    }
};

/// Opens a stream, uses it and leaves; or gives it up after a random number of the context's turns.
class visitor : public std::enable_shared_from_this<visitor>
{
    /// A handler that keeps the visitor present, and does nothing once it has given up.
    template <class Function>
    auto with_slot(Function function)
    {
        return asio::bind_cancellation_slot(
            signal_.slot(), [self = shared_from_this(), function](error_code ec, auto... n) {
                if (self->stream_)
                    function(ec, n...);
            });
    }

public:
    visitor(crowd_fixture& host, bool visits_console)
        : host_(host),
          stream_(host.io),
          visits_console_(visits_console)
    {
        ++host_.present;
    }

    ~visitor()
    {
        --host_.present;
    }

    void start(bool gives_up)
    {
        auto opened = with_slot([this](error_code ec) { ec ? leave(ec) : use(); });
        if (visits_console_)
            // Not by force: docs/libvirt.md, "What the daemon of libvirt 9.0 does not survive".
            stream_->async_open(host_.conn, avirt::console{"echo"}, std::move(opened));
        else
            stream_->async_open(host_.conn, host_.download("crowd"), std::move(opened));
        if (gives_up)
            give_up_after(host_.random() % 300);
    }

private:
    void use()
    {
        if (visits_console_)
            stream_->async_write_some(asio::buffer("x", 1), with_slot([this](error_code ec, std::size_t) {
                                          ec ? leave(ec) : read();
                                      }));
        else
            read();
    }

    void read()
    {
        stream_->async_read_some(asio::buffer(buffer_), with_slot([this](error_code ec, std::size_t n) {
                                     received_.append(buffer_.data(), n);
                                     const bool is_over = ec || (visits_console_ && !received_.empty());
                                     is_over ? leave(ec) : read();
                                 }));
    }

    void leave(error_code ec)
    {
        if (ec == asio::error::eof)
            BOOST_TEST((received_ == host_.content_of_volume));
        else if (ec && !is_expected(ec))
            BOOST_ERROR("a stream ended with " << ec << ": " << ec.message());
        stream_.reset();
    }

    bool is_expected(error_code ec) const
    {
        // not_open: the stream was closed when an operation had completed, but its handler had not run yet.
        return ec == aborted || ec == avirt::error::not_open
            || (visits_console_ && ec == avirt::condition::console_in_use);
    }

    void give_up_after(std::uint_fast32_t turns)
    {
        asio::post(host_.io, [self = shared_from_this(), turns] {
            if (self->stream_)
                turns == 0 ? self->give_up() : self->give_up_after(turns - 1);
        });
    }

    void give_up()
    {
        switch (host_.random() % 6) {
        case 0:
            return signal_.emit(asio::cancellation_type::terminal);
        case 1:
            return signal_.emit(asio::cancellation_type::partial);
        case 2:
            return signal_.emit(asio::cancellation_type::total);
        case 3:
            return stream_->cancel();
        case 4:
            return stream_->close();
        default:
            stream_.reset();
        }
    }

    crowd_fixture& host_;
    std::optional<avirt::async_stream> stream_; // until the visitor leaves
    const bool visits_console_;
    asio::cancellation_signal signal_;
    std::array<char, 64 * 1024> buffer_{};
    std::string received_;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(remote_crowd, crowd_fixture)

BOOST_AUTO_TEST_CASE(a_thousand_streams_leave_nothing)
{
    constexpr int at_a_time = 50;
    start_guest("echo", avirt_demo_guest);
    const auto visit = [&](int count) {
        for (int i = 0; i < count; ++i) {
            run_until([&] { return present < at_a_time; });
            std::make_shared<visitor>(*this, i % 4 == 3)->start(i % 2 == 1);
        }
        run_until([&] { return present == 0; });
        run_until([&] { return daemon.clients() == 1 && loop.stats().running_calls == 0; });
    };
    visit(200); // Threads and allocators take what they need.
    const auto files = support::open_files();
    const auto memory = support::resident_bytes();
    const auto watches = loop.stats().watches;
    // AVIRT_SOAK_SECONDS: again and again, with other random moments.
    const char* const soak = std::getenv("AVIRT_SOAK_SECONDS");
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(soak ? std::atoi(soak) : 0);
    do {
        visit(1000);
        BOOST_TEST(loop.stats().watches == watches);
        run_until([&] { return support::open_files() <= files; });
        BOOST_TEST(support::resident_bytes() < memory + 16 * 1024 * 1024);
    } while (std::chrono::steady_clock::now() < end);
    on_guest("echo", virDomainDestroy);
}

BOOST_AUTO_TEST_SUITE_END()
