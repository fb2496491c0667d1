// SPDX-License-Identifier: BSL-1.0
#include "connection_fixture.hpp"
#include "decorators.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <list>
#include <string>

namespace conformance {
namespace {

const std::string& picture()
{
    static const std::string content = [] {
        std::ifstream file{"/usr/share/libvirt/test-screenshot.png", std::ios::binary};
        return std::string{std::istreambuf_iterator<char>{file}, {}};
    }();
    return content;
}

/// A screenshot of the domain, which its stream's callback reads with one virStreamRecv() in each call.
class screenshot
{
public:
    screenshot(virConnectPtr connection, virDomainPtr of)
        : stream_{virStreamNew(connection, VIR_STREAM_NONBLOCK)}
    {
        char* const type = virDomainScreenshot(of, stream_.get(), 0, 0);
        expect(type, "there is no screenshot");
        std::free(type);
        const int events = VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_HANGUP;
        is_watched_ = virStreamEventAddCallback(stream_.get(), events, &on_event, this, nullptr) == 0;
        expect(is_watched_, "a stream's callback could not be added");
    }
    ~screenshot()
    {
        if (is_open_)
            abort();
    }
    screenshot(const screenshot&) = delete;
    screenshot& operator=(const screenshot&) = delete;

    bool has_begun() const noexcept
    {
        return has_begun_;
    }
    bool has_ended() const noexcept
    {
        return !is_watched_;
    }
    const std::string& content() const noexcept
    {
        return content_;
    }

    int finish()
    {
        is_open_ = false;
        return virStreamFinish(stream_.get());
    }
    void abort()
    {
        if (is_watched_)
            unwatch();
        is_open_ = false;
        expect(virStreamAbort(stream_.get()) == 0, "a stream could not be aborted");
    }

private:
    static void on_event(virStreamPtr, int, void* opaque)
    {
        static_cast<screenshot*>(opaque)->read();
    }

    void read()
    {
        expect(is_watched_, "a stream's callback was called after it was removed");
        const int n = virStreamRecv(stream_.get(), buffer_.data(), buffer_.size());
        if (n > 0)
            content_.append(buffer_.data(), static_cast<std::size_t>(n));
        has_begun_ = true;
        expect(n >= 0 || n == -2, "a stream could not be read");
        if (n == 0 || n == -1)
            unwatch();
    }

    void unwatch()
    {
        expect(virStreamEventRemoveCallback(stream_.get()) == 0, "a stream's callback could not be removed");
        is_watched_ = false;
    }

    stream stream_;
    std::array<char, 1000> buffer_{};
    std::string content_;
    bool is_open_ = true; // libvirt's thread behind the stream ends only by a finish or an abort
    std::atomic<bool> has_begun_{false};
    std::atomic<bool> is_watched_{false};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(
    streams, connection_fixture,
    *description("An in-process stream of libvirt: a pipe that a thread fills, and that the callback of its "
                 "watch reads."))

BOOST_AUTO_TEST_CASE(a_stream_is_read_to_its_end_by_its_callback)
{
    const auto d = test_domain();
    BOOST_TEST(picture().size() == 33443u);
    for (int i = 0; i < 5; ++i) {
        screenshot shot{connection, d.get()};
        run_until([&] { return shot.has_ended(); });
        BOOST_TEST((shot.content() == picture()));
        BOOST_TEST(shot.finish() == 0);
    }
}

BOOST_AUTO_TEST_CASE(concurrent_streams_are_not_mixed_up)
{
    const auto d = test_domain();
    std::list<screenshot> shots;
    for (int i = 0; i < 10; ++i)
        shots.emplace_back(connection, d.get());
    run_until([&] { return std::ranges::all_of(shots, &screenshot::has_ended); });
    for (auto& shot : shots) {
        BOOST_TEST((shot.content() == picture()));
        BOOST_TEST(shot.finish() == 0);
    }
}

// libvirt closes the stream's file at once, and the next stream gets its number.
BOOST_AUTO_TEST_CASE(an_aborted_stream_does_not_disturb_the_next)
{
    const auto d = test_domain();
    for (int i = 0; i < 20; ++i) {
        screenshot aborted{connection, d.get()};
        if (i % 2 == 0)
            run_until([&] { return aborted.has_begun(); });
        aborted.abort();
        screenshot shot{connection, d.get()};
        run_until([&] { return shot.has_ended(); });
        BOOST_TEST((shot.content() == picture()));
        BOOST_TEST(shot.finish() == 0);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace conformance
