// SPDX-License-Identifier: BSL-1.0
#include "transfer/source_file.hpp"

#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using avirt::condition;
using avirt::detail::file_piece;
using avirt::detail::source_file;
using pieces = std::vector<file_piece>;

constexpr std::uint64_t kibibyte = 1024;
constexpr std::uint64_t mebibyte = 1024 * kibibyte;

pieces zeros_in(const std::string& data, std::uint64_t offset = 0)
{
    pieces found;
    avirt::detail::find_zeros(asio::buffer(data), offset, found);
    return found;
}

struct source_file_fixture
{
    support::temporary_directory directory{"/tmp/avirt-files-"};
    const fs::path path = directory.path / "disk.img";

    void put(std::uint64_t offset, const std::string& text) const
    {
        std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(offset)) << text;
    }

    void make(std::uint64_t size) const
    {
        std::ofstream(path, std::ios::binary).close();
        fs::resize_file(path, size);
    }

    /// Reads the rest of the file: its data, and its pieces, adjacent ones joined.
    static pieces read(source_file& file, std::string& data, std::size_t buffer_size)
    {
        pieces all, some;
        std::string buffer(buffer_size, '\0');
        data.clear();
        while (!file.is_at_end()) {
            const auto f = file.read(asio::buffer(buffer), some);
            BOOST_TEST_REQUIRE(!f.code.failed(), f.details.message);
            std::size_t position = 0;
            for (const auto& p : some) {
                if (p.is_hole)
                    data.append(p.length, '\0');
                else
                    data.append(buffer, position, p.length);
                position += p.length;
                if (all.empty() || all.back().is_hole != p.is_hole)
                    all.push_back({p.is_hole, 0});
                all.back().length += p.length;
            }
        }
        return all;
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(find_zeros_)

BOOST_AUTO_TEST_CASE(runs_that_are_worth_it)
{
    const std::string run(64 * kibibyte, '\0');
    const std::string short_run(60 * kibibyte, '\0');
    const std::string block(4 * kibibyte, 'x');
    BOOST_TEST((zeros_in("") == pieces{}));
    BOOST_TEST((zeros_in(run) == pieces{{true, run.size()}}));
    BOOST_TEST((zeros_in(short_run) == pieces{{false, short_run.size()}}));
    BOOST_TEST((zeros_in(block + run) == pieces{{false, block.size()}, {true, run.size()}}));
    BOOST_TEST((zeros_in(run + block) == pieces{{true, run.size()}, {false, block.size()}}));
    BOOST_TEST(
        (zeros_in(run + block + short_run + block + run)
         == pieces{{true, run.size()}, {false, 2 * block.size() + short_run.size()}, {true, run.size()}}));
}

BOOST_AUTO_TEST_CASE(whole_aligned_blocks_only)
{
    const std::string run(64 * kibibyte, '\0');
    BOOST_TEST((zeros_in("x" + run) == pieces{{false, 1 + run.size()}}));
    const std::string longer(72 * kibibyte, '\0');
    BOOST_TEST((zeros_in("x" + longer) == pieces{{false, 4 * kibibyte}, {true, 68 * kibibyte}, {false, 1}}));
    // The data begins in the middle of a block.
    BOOST_TEST((zeros_in(longer, 1) == pieces{{false, 4095}, {true, 68 * kibibyte}, {false, 1}}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(source_file_, source_file_fixture)

BOOST_AUTO_TEST_CASE(holes_of_the_file_system)
{
    make(10 * mebibyte);
    put(mebibyte, std::string(100 * kibibyte, 'a'));
    put(5 * mebibyte, std::string(64 * kibibyte, '\0')); // data
    source_file file(path, source_file::holes::of_file_system);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(file.size() == 10 * mebibyte);
    std::string data;
    BOOST_TEST(
        (read(file, data, 30'000)
         == pieces{
             {true, mebibyte},
             {false, 100 * kibibyte},
             {true, 4 * mebibyte - 100 * kibibyte},
             {false, 64 * kibibyte},
             {true, 5 * mebibyte - 64 * kibibyte}}));
    BOOST_TEST(data.find_first_not_of('\0') == mebibyte);
    BOOST_TEST(data.find_last_of('a') == mebibyte + 100 * kibibyte - 1);
}

BOOST_AUTO_TEST_CASE(zeros_are_holes)
{
    make(0);
    put(0, std::string(mebibyte, 'a') + std::string(mebibyte, '\0') + "b");
    source_file file(path, source_file::holes::zeros);
    BOOST_REQUIRE(!file.open());
    std::string data;
    BOOST_TEST((read(file, data, 256 * kibibyte) == pieces{{false, mebibyte}, {true, mebibyte}, {false, 1}}));
    BOOST_TEST(data.size() == 2 * mebibyte + 1);
    // A buffer of another size splits no block.
    make(0);
    put(0, std::string(4 * mebibyte, '\0'));
    source_file zeros(path, source_file::holes::zeros);
    BOOST_REQUIRE(!zeros.open());
    BOOST_TEST((read(zeros, data, 262120) == pieces{{true, 4 * mebibyte}}));
}

BOOST_AUTO_TEST_CASE(no_holes)
{
    make(mebibyte);
    source_file file(path, source_file::holes::none);
    BOOST_REQUIRE(!file.open());
    std::string data;
    BOOST_TEST((read(file, data, 100'000) == pieces{{false, mebibyte}}));
    BOOST_TEST((data == std::string(mebibyte, '\0')));
}

BOOST_AUTO_TEST_CASE(a_part)
{
    make(mebibyte);
    put(1000, "0123456789");
    source_file file(path, source_file::holes::none);
    BOOST_REQUIRE(!file.open());
    std::string data;
    file.seek(1003, 1007);
    read(file, data, 3);
    BOOST_TEST(data == "3456");
    file.seek(1009, 2 * mebibyte);
    read(file, data, 100'000);
    BOOST_TEST(data.size() == mebibyte - 1009);
    BOOST_TEST(data[0] == '9');
}

BOOST_AUTO_TEST_CASE(a_file_that_changes_while_it_is_read)
{
    make(mebibyte);
    put(0, std::string(100 * kibibyte, 'a'));
    std::string buffer(50 * kibibyte, '\0');
    for (const auto reported : {source_file::holes::none, source_file::holes::of_file_system}) {
        make(mebibyte);
        put(0, std::string(100 * kibibyte, 'a'));
        source_file file(path, reported);
        BOOST_REQUIRE(!file.open());
        pieces some;
        BOOST_TEST(!file.read(asio::buffer(buffer), some));
        fs::resize_file(path, 60 * kibibyte);
        avirt::detail::failure f;
        while (!f && !file.is_at_end())
            f = file.read(asio::buffer(buffer), some);
        BOOST_TEST(f.code == boost::system::errc::io_error);
        BOOST_TEST_INFO(f.details.message);
        BOOST_TEST(f.details.message.find(path.string()) != std::string::npos);
        BOOST_TEST(f.details.message.find("from 1048576 to 61440 bytes") != std::string::npos);
    }
    source_file file(path, source_file::holes::zeros);
    BOOST_REQUIRE(!file.open());
    fs::resize_file(path, mebibyte);
    std::string data;
    read(file, data, 100'000);
    BOOST_TEST(data.size() == 60 * kibibyte);
}

BOOST_AUTO_TEST_CASE(files_that_cannot_be_read)
{
    const auto failure_of = [](const fs::path& p) {
        source_file file(p, source_file::holes::none);
        auto f = file.open();
        BOOST_TEST(f.details.message.find(p.string()) != std::string::npos);
        return f;
    };
    BOOST_TEST(failure_of(directory.path / "missing").code == boost::system::errc::no_such_file_or_directory);
    BOOST_TEST(failure_of(directory.path).code == boost::system::errc::is_a_directory);
    ::mkfifo(path.c_str(), 0600);
    BOOST_TEST((failure_of(path).code == condition::not_supported));
    BOOST_TEST((failure_of("/dev/zero").code == condition::not_supported));
}

BOOST_AUTO_TEST_SUITE_END()
