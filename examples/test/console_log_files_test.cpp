// SPDX-License-Identifier: BSL-1.0
#include "../console_log/file_name.hpp"
#include "../console_log/log_file.hpp"
#include "../console_log/log_format.hpp"
#include "../console_log/utf8_text.hpp"
#include "example.hpp"

#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

// The files of console_log: their names, formats and rotation.

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const moment noon{std::chrono::system_clock::from_time_t(1'769'860'800) + 7ms, {}}; // 2026-01-31T12:00:00Z

moment later(std::chrono::microseconds time)
{
    return {noon.date + time, noon.time + time};
}

std::string replaced(std::string_view bytes)
{
    utf8_text text;
    const auto result = text.add(bytes);
    return result + text.finish();
}

struct log_fixture : support::temporary_directory
{
    log_fixture() : temporary_directory("/tmp/avirt-log-") {}

    const fs::path at = path / "vm.log";

    std::string old(int number) const
    {
        return content(at.string() + "." + std::to_string(number));
    }
};

/// A log in one of the formats, as a run of the program has it.
struct log
{
    const std::unique_ptr<log_format> format;
    log_file file;

    log(const fs::path& path, log_format::kind k, log_limits limits = {0, 2})
        : format(log_format::make(k, "my \"vm\"")),
          file(path, limits, format->existing_file())
    {
    }

    void output(std::string_view bytes, moment now = noon)
    {
        format->output(file, bytes, now);
        BOOST_TEST(bytes.empty());
    }

    void mark(std::string_view text, moment now = noon)
    {
        format->mark(file, text, now);
    }
};

const std::string header =
    R"({"version": 2, "width": 80, "height": 24, "timestamp": 1769860800, "title": "my \"vm\""})"
    "\n";

BOOST_FIXTURE_TEST_SUITE(console_log_files, log_fixture)

BOOST_AUTO_TEST_CASE(names_of_files)
{
    BOOST_TEST(file_name("my vm-1.0_ä", "") == "my vm-1.0_ä.log");
    BOOST_TEST(file_name("../x", "") == "%2E.%2Fx.log");
    BOOST_TEST(file_name(".hidden", "") == "%2Ehidden.log");
    BOOST_TEST(file_name("a%2Fb", "") == "a%252Fb.log");
    BOOST_TEST(file_name("a\tb\x7f", "") == "a%09b%7F.log");
    BOOST_TEST(file_name("vm", "serial1") == "vm@serial1.log");
    BOOST_TEST(file_name("vm@serial1", "") == "vm%40serial1.log");
    BOOST_TEST(file_name("vm", "ua-a/b") == "vm@ua-a%2Fb.log");
}

BOOST_AUTO_TEST_CASE(raw_is_what_the_guest_prints)
{
    {
        log l(at, log_format::kind::raw);
        l.mark("attached");
        l.output(std::string("a\r\n\0\xff", 5));
    }
    log l(at, log_format::kind::raw);
    l.output("b");
    BOOST_TEST(
        content(at)
        == std::string(
            "a\r\n\0\xff"
            "b",
            6));
    BOOST_TEST(!fs::exists(at.string() + ".1"));
}

BOOST_AUTO_TEST_CASE(raw_files_have_exactly_the_size_that_they_may_have)
{
    log l(at, log_format::kind::raw, {10, 2});
    l.output("0123456789abcdefghijABCDEFGHIJ!");
    l.output("?");
    BOOST_TEST(content(at) == "!?");
    BOOST_TEST(old(1) == "ABCDEFGHIJ");
    BOOST_TEST(old(2) == "abcdefghij");
    BOOST_TEST(!fs::exists(at.string() + ".3"));
}

BOOST_AUTO_TEST_CASE(no_older_files)
{
    log l(at, log_format::kind::raw, {4, 0});
    l.output("abcdef");
    BOOST_TEST(content(at) == "ef");
    BOOST_TEST(std::distance(fs::directory_iterator(path), fs::directory_iterator()) == 1);
}

BOOST_AUTO_TEST_CASE(a_file_that_is_continued_counts_with_its_size)
{
    std::ofstream(at) << "12345678";
    log l(at, log_format::kind::raw, {10, 2});
    l.output("abcd");
    BOOST_TEST(old(1) == "12345678ab");
    BOOST_TEST(content(at) == "cd");
}

BOOST_AUTO_TEST_CASE(a_file_that_has_been_deleted_is_begun_again)
{
    log l(at, log_format::kind::raw);
    l.output("a");
    fs::remove(at);
    l.output("b");
    BOOST_TEST(content(at) == "b");
}

BOOST_AUTO_TEST_CASE(only_the_owner_can_read_a_log)
{
    log l(at, log_format::kind::raw);
    l.output("a");
    BOOST_CHECK((fs::status(at).permissions() & fs::perms(0077)) == fs::perms::none);
}

BOOST_AUTO_TEST_CASE(timestamps_at_the_beginning_of_lines)
{
    log l(at, log_format::kind::timestamps);
    l.output("one\r\ntwo\n\nth");
    l.output("ree", later(1s));
    l.output("\nfour\n", later(62s));
    BOOST_TEST(
        content(at)
        == "2026-01-31T12:00:00.007Z | one\r\n"
           "2026-01-31T12:00:00.007Z | two\n"
           "2026-01-31T12:00:00.007Z | \n"
           "2026-01-31T12:00:00.007Z | three\n"
           "2026-01-31T12:01:02.007Z | four\n");
}

BOOST_AUTO_TEST_CASE(marks_among_timestamps_have_a_line_of_their_own)
{
    {
        log l(at, log_format::kind::timestamps);
        l.mark("attached");
        l.output("2026-01-31T12:00:00.007Z * off\nlogin: ");
        l.mark("off");
        l.output("more");
    }
    log next_run(at, log_format::kind::timestamps);
    next_run.mark("attached", later(1s));
    BOOST_TEST(
        content(at)
        == "2026-01-31T12:00:00.007Z * attached\n"
           "2026-01-31T12:00:00.007Z | 2026-01-31T12:00:00.007Z * off\n"
           "2026-01-31T12:00:00.007Z | login: \n"
           "2026-01-31T12:00:00.007Z * off\n"
           "2026-01-31T12:00:00.007Z | more\n"
           "2026-01-31T12:00:01.007Z * attached\n");
}

BOOST_AUTO_TEST_CASE(a_line_that_is_divided_by_a_rotation_has_a_timestamp_in_both_files)
{
    log l(at, log_format::kind::timestamps, {40, 2});
    l.output("0123456789");
    l.output("abcdefghij");
    BOOST_TEST(old(1) == "2026-01-31T12:00:00.007Z | 0123456789");
    BOOST_TEST(content(at) == "2026-01-31T12:00:00.007Z | abcdefghij");
}

BOOST_AUTO_TEST_CASE(asciicast_events)
{
    log l(at, log_format::kind::asciicast);
    l.mark("attached");
    l.output("a\r\n\t\"\\\x1b[0m\x7f", later(1'500'000us));
    l.output("b", later(3600s));
    BOOST_TEST(
        content(at)
        == header
            + R"([0.000000, "m", "attached"])"
              "\n"
              R"([1.500000, "o", "a\r\n\u0009\"\\\u001b[0m)"
              "\x7f"
              R"("])"
              "\n"
              R"([3600.000000, "o", "b"])"
              "\n");
}

BOOST_AUTO_TEST_CASE(asciicast_keeps_characters_together)
{
    log l(at, log_format::kind::asciicast);
    l.output("\xe2\x82");
    BOOST_TEST(!fs::exists(at));
    l.output("\xac\xf0\x9f");
    l.output("\x98");
    l.output("\x80\xc3");
    l.mark("off");
    BOOST_TEST(
        content(at)
        == header
            + "[0.000000, \"o\", \"€\"]\n"
              "[0.000000, \"o\", \"😀\"]\n"
              "[0.000000, \"o\", \"\xef\xbf\xbd\"]\n"
              "[0.000000, \"m\", \"off\"]\n");
}

BOOST_AUTO_TEST_CASE(each_asciicast_has_a_header_and_begins_with_the_time_0)
{
    log l(at, log_format::kind::asciicast, {160, 2});
    l.output("one");
    l.output("two", later(1s));
    l.output("three", later(2s));
    l.output("four", later(3s));
    const auto header_at = [](int second) {
        auto text = header;
        return text.replace(text.find("0800"), 4, "080" + std::to_string(second));
    };
    BOOST_TEST(old(1) == header + "[0.000000, \"o\", \"one\"]\n[1.000000, \"o\", \"two\"]\n");
    BOOST_TEST(content(at) == header_at(2) + "[0.000000, \"o\", \"three\"]\n[1.000000, \"o\", \"four\"]\n");
}

BOOST_AUTO_TEST_CASE(an_asciicast_that_exists_is_not_continued)
{
    for (const char* text : {"first", "second"})
        log(at, log_format::kind::asciicast).output(text);
    BOOST_TEST(old(1) == header + "[0.000000, \"o\", \"first\"]\n");
    BOOST_TEST(content(at) == header + "[0.000000, \"o\", \"second\"]\n");
}

BOOST_AUTO_TEST_CASE(invalid_utf8)
{
    const std::string bad = "\xef\xbf\xbd";
    BOOST_TEST(
        replaced("a\xff"
                 "b")
        == "a" + bad + "b");
    BOOST_TEST(replaced("\xc0\xaf") == bad + bad);                     // not the shortest form
    BOOST_TEST(replaced("\xe0\x80\xaf") == bad + bad + bad);           // neither
    BOOST_TEST(replaced("\xed\xa0\x80") == bad + bad + bad);           // a surrogate
    BOOST_TEST(replaced("\xf4\x90\x80\x80") == bad + bad + bad + bad); // beyond U+10FFFF
    BOOST_TEST(
        replaced("\xe2\x82"
                 "a")
        == bad + "a");
    BOOST_TEST(replaced("\xf0\x9f\x98") == bad);
    BOOST_TEST(replaced("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xc2\x80") == "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xc2\x80");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_written_is_left)
{
    for (const auto k : {log_format::kind::raw, log_format::kind::timestamps, log_format::kind::asciicast}) {
        fs::remove(at);
        fs::create_symlink("/dev/full", at);
        log l(at, k);
        std::string_view bytes = "a\nb";
        BOOST_CHECK_THROW(l.format->output(l.file, bytes, noon), std::system_error);
        BOOST_TEST(bytes == "a\nb");
        if (k != log_format::kind::raw)
            BOOST_CHECK_THROW(l.mark("lost"), std::system_error);
        fs::remove(at);
        l.output(bytes);
        BOOST_TEST(content(at).find('b') != std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_opened_is_opened_later)
{
    log l(at, log_format::kind::asciicast);
    fs::create_directory(at);
    std::string_view bytes = "a";
    BOOST_CHECK_THROW(l.format->output(l.file, bytes, noon), std::system_error);
    fs::remove(at);
    l.output("b");
    BOOST_TEST(content(at) == header + "[0.000000, \"o\", \"b\"]\n");
}

BOOST_AUTO_TEST_CASE(a_rotation_that_fails_loses_no_file)
{
    std::ofstream(at) << "old";
    fs::create_directories(path / "vm.log.1/full");
    log l(at, log_format::kind::asciicast, {0, 1});
    for (int i = 0; i < 2; ++i) {
        std::string_view bytes = "new";
        BOOST_CHECK_THROW(l.format->output(l.file, bytes, noon), std::system_error);
        BOOST_TEST(content(at) == "old");
    }
    fs::remove_all(path / "vm.log.1");
    l.output("new");
    BOOST_TEST(old(1) == "old");
    BOOST_TEST(content(at) == header + "[0.000000, \"o\", \"new\"]\n");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
