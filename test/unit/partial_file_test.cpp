// SPDX-License-Identifier: BSL-1.0
#include "transfer/partial_file.hpp"

#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using avirt::condition;
using avirt::detail::partial_file;

struct partial_file_fixture
{
    support::temporary_directory directory{"/tmp/avirt-files-"};
    const fs::path target = directory.path / "disk.img";
    const fs::path part = directory.path / ".disk.img.part";

    static void put(const fs::path& path, const std::string& text)
    {
        std::ofstream(path, std::ios::binary) << text;
    }

    static std::string content(const fs::path& path)
    {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    static avirt::detail::failure complete(partial_file& file)
    {
        auto f = file.sync();
        return f ? f : file.rename();
    }

    static bool write(partial_file& file, const std::string& text)
    {
        return !file.write(asio::buffer(text));
    }

    std::size_t files() const
    {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory.path), {}));
    }
};

bool mentions(const avirt::detail::failure& f, const std::string& text)
{
    return f.details.message.find(text) != std::string::npos;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(partial_file_, partial_file_fixture)

BOOST_AUTO_TEST_CASE(replaces_the_target_when_it_is_complete)
{
    put(target, "old");
    fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write);
    partial_file file(target, false);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(write(file, "new content"));
    BOOST_TEST(content(target) == "old");
    BOOST_TEST(content(part) == "new content");
    BOOST_TEST(!complete(file));
    BOOST_TEST(content(target) == "new content");
    BOOST_TEST(files() == 1u);
    BOOST_TEST((fs::status(target).permissions() == (fs::perms::owner_read | fs::perms::owner_write)));
}

BOOST_AUTO_TEST_CASE(keeps_holes)
{
    constexpr std::uint64_t mebibyte = 1024 * 1024;
    partial_file file(target, false);
    BOOST_REQUIRE(!file.open());
    file.skip(8 * mebibyte);
    BOOST_TEST(write(file, "data"));
    file.skip(8 * mebibyte);
    BOOST_TEST(!complete(file));
    BOOST_TEST(fs::file_size(target) == 16 * mebibyte + 4);
    BOOST_TEST(content(target).substr(8 * mebibyte, 4) == "data");
    struct stat status
    {
    };
    ::stat(target.c_str(), &status);
    BOOST_TEST(status.st_blocks * 512 <= 65536);
}

BOOST_AUTO_TEST_CASE(leaves_nothing_if_it_is_not_complete)
{
    put(target, "old");
    put(part, "what another transfer left");
    {
        partial_file file(target, false);
        BOOST_REQUIRE(!file.open());
        BOOST_TEST(file.found() == 0u);
        BOOST_TEST(write(file, "new"));
    }
    BOOST_TEST(content(target) == "old");
    BOOST_TEST(files() == 1u);
}

BOOST_AUTO_TEST_CASE(can_be_resumed)
{
    {
        partial_file file(target, true);
        BOOST_REQUIRE(!file.open());
        BOOST_TEST(write(file, "begin"));
        file.skip(3);
    }
    BOOST_TEST(!fs::exists(target));
    BOOST_TEST(fs::file_size(part) == 8u);
    partial_file file(target, true);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(file.found() == 8u);
    BOOST_TEST(write(file, "end"));
    BOOST_TEST(!complete(file));
    BOOST_TEST(content(target) == (std::string("begin") + std::string(3, '\0') + "end"));
}

BOOST_AUTO_TEST_CASE(what_replaces_a_read_only_file_can_be_resumed)
{
    put(target, "old");
    fs::permissions(target, fs::perms::owner_read);
    {
        partial_file file(target, true);
        BOOST_REQUIRE(!file.open());
        BOOST_TEST(write(file, "new"));
    }
    BOOST_TEST((fs::status(part).permissions() == (fs::perms::owner_read | fs::perms::owner_write)));
    partial_file file(target, true);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(!complete(file));
    BOOST_TEST((fs::status(target).permissions() == fs::perms::owner_read));
}

BOOST_AUTO_TEST_CASE(a_duplicate_does_not_keep_the_file_locked)
{
    std::optional<partial_file> first(std::in_place, target, true);
    BOOST_REQUIRE(!first->open());
    BOOST_TEST(write(*first, "half"));
    const auto duplicate = first->duplicate();
    first.reset();
    partial_file next(target, true);
    BOOST_TEST(!next.open());
    BOOST_TEST(next.found() == 4u);
}

BOOST_AUTO_TEST_CASE(what_is_resumed_can_be_dropped)
{
    put(part, "too long");
    partial_file file(target, true);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(!file.restart());
    BOOST_TEST(write(file, "short"));
    BOOST_TEST(!complete(file));
    BOOST_TEST(content(target) == "short");
}

BOOST_AUTO_TEST_CASE(leaves_nothing_that_is_wrong_or_empty)
{
    {
        partial_file file(target, true);
        BOOST_REQUIRE(!file.open());
    }
    BOOST_TEST(files() == 0u);
    {
        partial_file file(target, true);
        BOOST_REQUIRE(!file.open());
        BOOST_TEST(write(file, "wrong"));
        file.spoil();
    }
    BOOST_TEST(files() == 0u);
}

BOOST_AUTO_TEST_CASE(two_transfers_to_one_target)
{
    std::optional<partial_file> first(std::in_place, target, false);
    BOOST_REQUIRE(!first->open());
    BOOST_TEST(write(*first, "first"));
    {
        partial_file second(target, false);
        const auto f = second.open();
        BOOST_TEST((f.code == condition::busy));
        BOOST_TEST(mentions(f, target.string()));
        BOOST_TEST(mentions(f, ".disk.img.part"));
    }
    BOOST_TEST(content(part) == "first");
    BOOST_TEST(!complete(*first));
    first.reset();
    partial_file third(target, false);
    BOOST_TEST(!third.open());
}

BOOST_AUTO_TEST_CASE(a_symbolic_link_leads_to_the_target)
{
    fs::create_directory(directory.path / "elsewhere");
    put(directory.path / "elsewhere/real.img", "old");
    fs::create_symlink("elsewhere/real.img", target);
    partial_file file(target, false);
    BOOST_REQUIRE(!file.open());
    BOOST_TEST(write(file, "new"));
    BOOST_TEST(!complete(file));
    BOOST_TEST(fs::is_symlink(target));
    BOOST_TEST(content(directory.path / "elsewhere/real.img") == "new");
}

BOOST_AUTO_TEST_CASE(targets_that_cannot_be_written)
{
    const auto failure_of = [](const fs::path& path) {
        partial_file file(path, false);
        auto f = file.open();
        BOOST_TEST(mentions(f, path.string()));
        BOOST_TEST(f.details.int1 == f.code.value());
        return f;
    };
    BOOST_TEST(failure_of(directory.path).code == boost::system::errc::is_a_directory);
    BOOST_TEST(
        failure_of(directory.path / "missing/disk.img").code
        == boost::system::errc::no_such_file_or_directory);
    BOOST_TEST(failure_of(directory.path / "").code == boost::system::errc::is_a_directory);
    BOOST_TEST((failure_of("/dev/null").code == condition::not_supported));
    BOOST_TEST((failure_of("/proc/disk.img").code.failed()));
    BOOST_TEST(files() == 0u);
}

BOOST_AUTO_TEST_CASE(a_directory_that_vanishes)
{
    const auto inner = directory.path / "inner";
    fs::create_directory(inner);
    partial_file file(inner / "disk.img", false);
    BOOST_REQUIRE(!file.open());
    fs::remove_all(inner);
    const auto f = complete(file);
    BOOST_TEST(f.code == boost::system::errc::no_such_file_or_directory);
    BOOST_TEST(mentions(f, (inner / "disk.img").string()));
}

BOOST_AUTO_TEST_CASE(a_file_that_grows_too_large)
{
    partial_file file(target, false);
    BOOST_REQUIRE(!file.open());
    file.skip(std::uint64_t{1} << 62);
    const auto f = file.write(asio::buffer("x", 1));
    BOOST_TEST(f.code.failed());
    BOOST_TEST(mentions(f, "offset 4611686018427387904"));
    BOOST_TEST(mentions(f, target.string()));
}

BOOST_AUTO_TEST_SUITE_END()
