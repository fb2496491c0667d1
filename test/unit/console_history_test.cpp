// SPDX-License-Identifier: BSL-1.0
#include "host/console_history.hpp"

#include <support/printing.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace {

namespace asio = boost::asio;
using avirt::console_state;
using avirt::error;
using avirt::detail::console_history;
using avirt::detail::mutable_buffer_list;

struct history_fixture
{
    console_history history{1000, console_state::host_away};

    void add(std::string_view text)
    {
        while (!text.empty()) {
            const auto memory = history.prepare(text.size());
            const auto n = asio::buffer_copy(memory, asio::buffer(text));
            history.commit(n);
            text.remove_prefix(n);
        }
    }

    /// Reads once, and requires that something has come.
    std::string read(console_history::place& from, std::size_t size, avirt::error_code expected = {})
    {
        std::string result(size, '\0');
        const auto read = history.read(from, mutable_buffer_list(asio::buffer(result)));
        BOOST_TEST_REQUIRE(read.has_value());
        BOOST_TEST(read->error == expected);
        result.resize(read->bytes);
        return result;
    }

    bool has_more(console_history::place from)
    {
        char byte = 0;
        return history.read(from, mutable_buffer_list(asio::buffer(&byte, 1))).has_value();
    }
};

/// The byte at an offset of a long output.
char byte_at(std::uint64_t offset)
{
    return static_cast<char>('a' + offset % 23);
}

std::string bytes(std::uint64_t from, std::uint64_t to)
{
    std::string result;
    for (; from != to; ++from)
        result += byte_at(from);
    return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(console_history_, history_fixture)

BOOST_AUTO_TEST_CASE(output_is_read_in_pieces_by_each_reader)
{
    auto one = history.first(), two = history.first();
    BOOST_TEST(!has_more(one));
    add("hello");
    BOOST_TEST(read(one, 3) == "hel");
    BOOST_TEST(read(one, 3) == "lo");
    BOOST_TEST(!has_more(one));
    BOOST_TEST(read(two, 100) == "hello");
    BOOST_TEST(!has_more(history.last()));
}

BOOST_AUTO_TEST_CASE(a_change_of_state_stands_at_its_place)
{
    auto place = history.first();
    history.change(console_state::attached);
    add("before");
    history.change(console_state::off);
    history.change(console_state::opening);
    add("after");
    BOOST_TEST(read(place, 100, error::console_state_changed).empty());
    BOOST_TEST(place.state == console_state::attached);
    BOOST_TEST(read(place, 100) == "before");
    read(place, 100, error::console_state_changed);
    BOOST_TEST(place.state == console_state::off);
    read(place, 100, error::console_state_changed);
    BOOST_TEST(place.state == console_state::opening);
    BOOST_TEST(read(place, 100) == "after");
    BOOST_TEST(!has_more(place));
}

BOOST_AUTO_TEST_CASE(a_place_at_an_offset_is_before_the_changes_there)
{
    add("before");
    history.change(console_state::attached);
    add("after");
    auto place = history.at(6);
    BOOST_TEST(place.state == console_state::host_away);
    read(place, 100, error::console_state_changed);
    BOOST_TEST(read(place, 100) == "after");
    place = history.at(8);
    BOOST_TEST(place.state == console_state::attached);
    BOOST_TEST(read(place, 100) == "ter");
}

BOOST_AUTO_TEST_CASE(a_place_at_or_beyond_the_end_is_behind_all_changes)
{
    add("x");
    history.change(console_state::attached);
    for (const auto offset : {1, 2, 1000}) {
        const auto place = history.at(static_cast<std::uint64_t>(offset));
        BOOST_TEST(place.offset == 1U);
        BOOST_TEST(place.state == console_state::attached);
        BOOST_TEST(!has_more(place));
    }
}

BOOST_AUTO_TEST_CASE(who_is_further_behind_than_the_capacity_is_told_what_is_lost)
{
    auto place = history.first();
    add(bytes(0, 1000));
    BOOST_TEST(read(place, 1) == bytes(0, 1));
    add(bytes(1000, 1001));
    BOOST_TEST(read(place, 1) == bytes(1, 2)); // Not further.
    add(bytes(1001, 2500));
    read(place, 2000, error::output_lost);
    BOOST_TEST(place.lost == 1498U);
    BOOST_TEST(place.offset == 1500U);
    BOOST_TEST(read(place, 2000) == bytes(1500, 2500));
}

BOOST_AUTO_TEST_CASE(changes_that_are_lost_with_the_output_leave_the_state)
{
    auto place = history.first();
    history.change(console_state::attached);
    add(bytes(0, 1500));
    read(place, 1, error::output_lost);
    BOOST_TEST(place.state == console_state::attached);
    BOOST_TEST(read(place, 1) == bytes(500, 501));
}

BOOST_AUTO_TEST_CASE(the_number_of_changes_is_limited)
{
    auto behind = history.first();
    add("lost");
    const auto state = [](int i) { return i % 2 ? console_state::opening : console_state::host_away; };
    auto in_step = history.last();
    for (int i = 0; i < 1000; ++i) {
        history.change(state(i));
        read(in_step, 1, error::console_state_changed);
        BOOST_TEST(in_step.state == state(i));
    }
    BOOST_TEST(read(behind, 100) == "lost"); // It is kept, though not each change.
    int changes = 0;
    for (; has_more(behind); ++changes)
        read(behind, 1, error::console_state_changed);
    BOOST_TEST(changes == 256);
    BOOST_TEST(behind.state == state(999));
}

BOOST_AUTO_TEST_CASE(no_output_is_lost_by_changes)
{
    auto behind = history.first();
    for (int i = 0; i < 300; ++i) {
        add("x");
        history.change(i % 2 ? console_state::opening : console_state::attached);
        history.change(i % 2 ? console_state::attached : console_state::host_away);
    }
    std::string text;
    while (has_more(behind)) {
        char byte = 0;
        const auto next = history.read(behind, mutable_buffer_list(asio::buffer(&byte, 1)));
        if (next->bytes != 0)
            text += byte;
        BOOST_TEST((!next->error || next->error == error::console_state_changed));
    }
    BOOST_TEST(text == std::string(300, 'x'));
    BOOST_TEST(behind.lost == 0U);
    BOOST_TEST(behind.state == console_state::attached);
    behind = history.at(290);
    read(behind, 1, error::console_state_changed);
    BOOST_TEST(read(behind, 100) == "x"); // The latest changes are at their places.
}

BOOST_AUTO_TEST_CASE(readers_at_every_distance_read_the_same_at_the_same_offset)
{
    std::minstd_rand random(1);
    const auto up_to = [&](std::uint64_t n) {
        return std::uniform_int_distribution<std::uint64_t>(1, n)(random);
    };
    console_history::place readers[3];
    for (int i = 0; i < 20'000; ++i) {
        const auto memory = history.prepare(up_to(20'000));
        const auto n = std::min<std::uint64_t>(up_to(3000), memory.size());
        asio::buffer_copy(memory, asio::buffer(bytes(history.end(), history.end() + n)));
        history.commit(n);
        auto& reader = readers[up_to(3) - 1];
        const auto before = reader.offset;
        std::string text(up_to(1500), '\0');
        if (const auto result = history.read(reader, mutable_buffer_list(asio::buffer(text)))) {
            text.resize(result->bytes);
            if (result->error)
                BOOST_REQUIRE_EQUAL(reader.offset, history.end() - 1000);
            else
                BOOST_REQUIRE_EQUAL(text, bytes(before, reader.offset));
        }
    }
}

// The stream writes to all of the memory, and while it does, views read.
BOOST_AUTO_TEST_CASE(prepared_memory_is_apart_from_what_is_kept)
{
    for (int i = 0; i < 100; ++i) {
        const auto memory = history.prepare(console_history::max_prepared);
        BOOST_TEST(memory.size() == console_history::max_prepared);
        asio::buffer_copy(memory, asio::buffer(std::string(console_history::max_prepared, '!')));
        auto place = history.first();
        const auto begin = place.offset;
        if (history.end() != begin)
            BOOST_TEST(read(place, 1000) == bytes(begin, history.end()));
        const auto next = bytes(history.end(), history.end() + 777);
        history.commit(asio::buffer_copy(memory, asio::buffer(next)));
    }
}

BOOST_AUTO_TEST_SUITE_END()
