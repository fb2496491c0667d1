// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "remote_fixture.hpp"

#include <avirt/sparse_transfer.hpp>
#include <avirt/volume_transfer.hpp>
#include <support/temporary_directory.hpp>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace fs = std::filesystem;

inline constexpr std::uint64_t mebibyte = 1024 * 1024;

/// What a transfer has completed with.
struct moved
{
    bool is_done = false;
    error_code ec{};
    avirt::error_details details{};
    avirt::progress progress{};
};

struct volume_fixture : remote_fixture
{
    support::temporary_directory directory{"/tmp/avirt-files-"};
    const fs::path file = directory.path / "disk.img";
    const fs::path part = directory.path / ".disk.img.part";
    moved result;

    volume_fixture() = default;

    explicit volume_fixture(support::libvirtd& d) : remote_fixture(d) {}

    /// The handler of a transfer.
    auto record()
    {
        result = {};
        return avirt::with_details(
            [this](error_code ec, avirt::progress p) {
                result.is_done = true;
                result.ec = ec;
                result.progress = p;
            },
            result.details);
    }

    void run_until_moved()
    {
        run_until([&] { return result.is_done; });
    }

    void download(const std::string& name, avirt::transfer_options options = {})
    {
        avirt::async_download(conn, {"pool", name}, file, std::move(options), record());
        run_until_moved();
    }

    void upload(const std::string& name, avirt::transfer_options options = {})
    {
        avirt::async_upload(conn, file, {"pool", name}, std::move(options), record());
        run_until_moved();
    }

    void check_success()
    {
        BOOST_TEST_REQUIRE(result.ec == error_code(), result.ec.message() << ": " << result.details.message);
    }

    bool message_contains(const std::string& text) const
    {
        return result.details.message.find(text) != std::string::npos;
    }

    /// Makes a volume without data.
    fs::path make_fresh_volume(const std::string& name, std::uint64_t size)
    {
        const auto path = make_volume(name, 0);
        fs::resize_file(path, size);
        make_pool();
        return path;
    }

    static void put(const fs::path& path, std::uint64_t offset, const std::string& text)
    {
        std::ofstream(path, std::ios::app).close();
        std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
        out.seekp(static_cast<std::streamoff>(offset)) << text;
    }

    static std::string content(const fs::path& path)
    {
        std::string text(fs::file_size(path), '\0');
        std::ifstream(path, std::ios::binary).read(text.data(), static_cast<std::streamsize>(text.size()));
        return text;
    }

    /// Whether two files have the same content.
    static bool same(const fs::path& a, const fs::path& b)
    {
        std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
        std::string one(mebibyte, '\0'), other(mebibyte, '\0');
        const auto read = [](std::ifstream& in, std::string& to) {
            in.read(to.data(), static_cast<std::streamsize>(to.size()));
            return std::string_view(to).substr(0, static_cast<std::size_t>(in.gcount()));
        };
        while (first && second) {
            if (read(first, one) != read(second, other))
                return false;
        }
        return !first && !second;
    }

    static std::uint64_t allocated(const fs::path& path)
    {
        struct stat status
        {
        };
        ::stat(path.c_str(), &status);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }

    std::size_t files() const
    {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory.path), {}));
    }
};
