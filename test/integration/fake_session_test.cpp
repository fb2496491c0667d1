// SPDX-License-Identifier: BSL-1.0
#include "console_viewer.hpp"
#include "fake_fixture.hpp"

#include <support/resident_bytes.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// Tests a console session with more output than a real guest prints in an hour.

namespace {

using avirt::console_session;
using avirt::console_state;
using avirt::console_view;
using avirt::error;

using support::few_mebibytes;
using support::mebibyte;

/// A part of the output, which repeats itself after a prime number of bytes.
std::string_view output(std::uint64_t offset, std::size_t size)
{
    constexpr std::size_t period = 251, most = 128 * 1024;
    static const auto periods = [] {
        std::string bytes(most + period, '\0');
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<char>(i % period);
        return bytes;
    }();
    return std::string_view(periods).substr(offset % period, size);
}

/// Reads a view all the time, and checks what it reads.
struct checking_reader
{
    explicit checking_reader(console_session& session) : view(session) {}

    void read()
    {
        const auto from = view.offset();
        view.async_read_some(asio::buffer(memory), [this, from](error_code ec, std::size_t n) {
            is_intact = is_intact && std::string_view(memory.data(), n) == output(from, n);
            if (ec == error::output_lost)
                lost += view.lost();
            bytes += n;
            end = ec == error::console_state_changed || ec == error::output_lost ? error_code() : ec;
            if (!end)
                read();
        });
    }

    console_view view;
    std::array<char, 64 * 1024> memory;
    bool is_intact = true;
    std::uint64_t bytes = 0;
    std::uint64_t lost = 0;
    error_code end{};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(fake_session, support::loop_fixture)

BOOST_AUTO_TEST_CASE(an_hour_of_output_takes_no_memory)
{
    // A guest under emulation prints 0.2 MiB in a second.
    constexpr std::uint64_t size = 720 * mebibyte;
    constexpr std::size_t history = 1 * mebibyte;
    support::fake_libvirtd daemon([](auto& s) {
        constexpr std::size_t packet = 128 * 1024;
        for (std::uint64_t sent = 0; sent < size; sent += packet)
            s.data(output(sent, packet));
    });
    daemon.answer_keepalives();
    daemon.answer_running_domains({support::xdr("vm", support::encoded{std::string(16, 'u')}, 1)});
    avirt::supervision_options options;
    options.open.uri = daemon.uri();
    avirt::supervised_connection host{io, options};
    console_session session{host, avirt::console{"vm"}, {.history = history}};
    checking_reader reader(session);
    reader.read();
    std::vector<console_view> frozen;
    for (int i = 0; i < 100; ++i)
        frozen.emplace_back(session);
    run_until([&] { return session.end_offset() > 8 * mebibyte; });
    const auto before = support::resident_bytes();
    run_until([&] { return session.end_offset() == size; });
    const auto after = support::resident_bytes();
    BOOST_TEST((after <= before || after - before < few_mebibytes));
    run_until([&] { return reader.bytes + reader.lost == size; });
    BOOST_TEST(reader.is_intact);
    for (auto& view : frozen) {
        char byte = 0;
        outcome read;
        view.async_read_some(asio::buffer(&byte, 1), read.handler());
        run_until([&] { return read.calls() > 0; });
        BOOST_TEST(read.ec() == error::output_lost);
        BOOST_TEST(view.lost() == size - history);
        BOOST_TEST(view.offset() == size - history);
    }
    host.close();
    run_until([&] { return reader.end.failed(); });
    BOOST_TEST(reader.end == asio::error::eof);
    BOOST_TEST(session.state() == console_state::closed);
}

BOOST_AUTO_TEST_SUITE_END()
