// SPDX-License-Identifier: BSL-1.0
#include "example.hpp"
#include "volumes.hpp"

#include <support/eventually.hpp>
#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

// Runs volume_transfer with the volumes of one or two daemons. The test itself has no event loop: it uses the
// daemons like any other client.

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr auto sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr auto sha256_of_a_mebibyte_of_zeros =
    "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

struct transfer_fixture
{
    support::libvirtd daemon;
    volumes all{daemon};
    const support::temporary_directory directory{"/tmp/avirt-transfers-"};
    std::string printed;

    std::string file(const std::string& name) const
    {
        return (directory.path / name).string();
    }

    example start(std::vector<std::string> arguments) const
    {
        return {VOLUME_TRANSFER, std::move(arguments), directory.path / "output"};
    }

    /// Returns the exit status.
    int run(std::vector<std::string> arguments)
    {
        auto program = start(std::move(arguments));
        const int status = program.end(0);
        printed = program.printed();
        BOOST_TEST_MESSAGE(printed);
        return status;
    }

    /// Interrupts the program as soon as it has transferred something.
    template <class Condition>
    void interrupt(std::vector<std::string> arguments, Condition has_begun)
    {
        auto program = start(std::move(arguments));
        BOOST_TEST_REQUIRE(support::eventually(has_begun));
        BOOST_TEST(program.end(SIGINT) == 130);
        printed = program.printed();
        BOOST_TEST_MESSAGE(printed);
    }

    bool has_printed(const std::string& text) const
    {
        return printed.find(text) != std::string::npos;
    }

    void fails(int status, const std::string& message, std::vector<std::string> arguments)
    {
        BOOST_TEST_CONTEXT("looking for: " << message)
        {
            BOOST_TEST(run(std::move(arguments)) == status);
            BOOST_TEST(has_printed(message), printed);
        }
    }
};

/// As many bytes as that, which no two volumes have in common.
std::string text_of(const std::string& name, std::size_t size)
{
    std::string text;
    for (std::size_t i = 0; text.size() < size; ++i)
        text += name + std::to_string(i);
    text.resize(size);
    return text;
}

/// Makes a file of 64 MiB that begins with a little data, and contains 4 MiB more behind a hole.
void make_sparse(const fs::path& path)
{
    write(path, text_of("a", 64 * 1024));
    fs::resize_file(path, 64 * mebibyte);
    write_at(path, 32 * mebibyte, text_of("b", 4 * mebibyte));
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(volume_transfer, transfer_fixture)

BOOST_AUTO_TEST_CASE(a_download)
{
    all.make("abc", "abc");
    BOOST_TEST(run({"download", daemon.uri(), "pool/abc", file("down"), "--checksum", "--verify"}) == 0);
    BOOST_TEST(content(file("down")) == "abc");
    BOOST_TEST(has_printed("pool/abc to " + file("down") + ": 3 bytes in "));
    BOOST_TEST(has_printed(sha256_of_abc + std::string("  ") + file("down") + "\n"));
}

BOOST_AUTO_TEST_CASE(an_upload)
{
    write(file("up"), "abc");
    const auto path = all.make_fresh("abc", 5);
    BOOST_TEST(run({"upload", file("up"), daemon.uri(), "pool/abc", "--checksum", "--verify"}) == 0);
    BOOST_TEST(content(path) == std::string("abc\0\0", 5));
    BOOST_TEST(has_printed(file("up") + " to pool/abc: 3 bytes in "));
    BOOST_TEST(has_printed(sha256_of_abc + std::string("  pool/abc\n")));
}

BOOST_AUTO_TEST_CASE(a_hole)
{
    all.make_fresh("hole", mebibyte);
    BOOST_TEST(run({"download", daemon.uri(), "pool/hole", directory.path.string(), "--checksum"}) == 0);
    BOOST_TEST(allocated(file("hole")) == 0u);
    BOOST_TEST(has_printed("and 1.0 MiB of holes\n"));
    BOOST_TEST(has_printed(sha256_of_a_mebibyte_of_zeros + std::string("  ") + file("hole") + "\n"));
    BOOST_TEST(run({"download", daemon.uri(), "pool/hole", directory.path.string(), "--no-sparse"}) == 0);
    BOOST_TEST(allocated(file("hole")) >= mebibyte);
    BOOST_TEST(has_printed("/hole: 1.0 MiB in "));
}

BOOST_AUTO_TEST_CASE(several_at_a_time)
{
    const std::vector<std::string> names{"a", "b", "c", "d", "e"};
    std::vector<std::string> down{"download", daemon.uri()};
    std::vector<std::string> up{"upload"};
    for (const auto& name : names) {
        all.make(name, text_of(name, 300'000));
        down.push_back("pool/" + name);
        up.push_back(file(name));
    }
    down.insert(down.end(), {directory.path.string(), "--jobs", "2", "--checksum"});
    BOOST_TEST(run(down) == 0);
    BOOST_TEST(std::count(printed.begin(), printed.end(), '\n') == 10);
    for (const auto& name : names) {
        BOOST_TEST((content(file(name)) == text_of(name, 300'000)));
        write(file(name), text_of("new " + name, 300'000));
    }
    up.insert(up.end(), {daemon.uri(), "pool", "--jobs", "3"});
    BOOST_TEST(run(up) == 0);
    for (const auto& name : names)
        BOOST_TEST((content(all.path(name)) == text_of("new " + name, 300'000)));
}

BOOST_AUTO_TEST_CASE(one_of_several_fails)
{
    all.make("a", "of a");
    all.make("b", "of b");
    BOOST_TEST(
        run({"download", daemon.uri(), "pool/a", "pool/missing", "pool/b", directory.path.string()}) == 1);
    BOOST_TEST(content(file("a")) == "of a");
    BOOST_TEST(content(file("b")) == "of b");
    BOOST_TEST(!fs::exists(file("missing")));
    BOOST_TEST(has_printed("pool/missing to " + file("missing") + ": "));
}

BOOST_AUTO_TEST_CASE(an_interrupted_download)
{
    const auto text = text_of("a", 4 * mebibyte);
    all.make("a", text);
    const std::vector<std::string> command{"download", daemon.uri(), "pool/a", file("a")};
    const auto part = file(".a.part");
    const auto has_begun = [&] { return fs::exists(part) && fs::file_size(part) > 0; };

    auto slowly = command;
    slowly.insert(slowly.end(), {"--limit-rate", "200K"});
    interrupt(slowly, has_begun);
    BOOST_TEST(has_printed("pool/a to " + file("a") + ": interrupted after "), printed);
    BOOST_TEST(has_printed(" of 4.0 MiB. Nothing of it is left; --resume would have kept it.\n"), printed);
    BOOST_TEST(!fs::exists(part));

    slowly.push_back("--resume");
    interrupt(slowly, has_begun);
    BOOST_TEST(has_printed("'" + part + "' is kept, and the same command continues it.\n"), printed);
    BOOST_TEST(fs::exists(part));
    BOOST_TEST(!fs::exists(file("a")));

    auto again = command;
    again.push_back("--resume");
    BOOST_TEST(run(again) == 0);
    BOOST_TEST((content(file("a")) == text));
    BOOST_TEST(!fs::exists(part));
}

BOOST_AUTO_TEST_CASE(an_interrupted_upload)
{
    const auto text = text_of("a", 4 * mebibyte);
    write(file("a"), text);
    const auto path = all.make_fresh("a", 5 * mebibyte);
    interrupt({"upload", file("a"), daemon.uri(), "pool/a", "--limit-rate", "200K"}, [&] {
        return allocated(path) > 0;
    });
    BOOST_TEST(has_printed("pool/a contains a part of it; with --resume the same command continues it.\n"));
    BOOST_TEST(run({"upload", file("a"), daemon.uri(), "pool/a", "--resume"}) == 0);
    BOOST_TEST((content(path) == text + std::string(mebibyte, '\0')));
}

BOOST_AUTO_TEST_CASE(an_upload_that_is_interrupted_behind_a_hole)
{
    make_sparse(file("a"));
    const auto path = all.make_fresh("a", 64 * mebibyte);
    interrupt({"upload", file("a"), daemon.uri(), "pool/a", "--limit-rate", "200K"}, [&] {
        return allocated(path) > 256 * 1024;
    });
    BOOST_TEST(run({"upload", file("a"), daemon.uri(), "pool/a", "--resume"}) == 0);
    BOOST_TEST((content(path) == content(file("a"))));
}

BOOST_AUTO_TEST_CASE(transfers_that_were_not_begun)
{
    all.make("a", text_of("a", 4 * mebibyte));
    all.make("b", "of b");
    all.make("c", "of c");
    interrupt(
        {"download", daemon.uri(), "pool/a", "pool/b", "pool/c", directory.path.string(), "--limit-rate",
         "200K"},
        [&] { return fs::exists(file(".a.part")); });
    BOOST_TEST(has_printed("2 of 3 were not begun.\n"), printed);
    BOOST_TEST(!fs::exists(file("b")));
}

BOOST_AUTO_TEST_CASE(a_connection_that_is_lost)
{
    all.make("a", text_of("a", 4 * mebibyte));
    const auto part = file(".a.part");
    auto program = start({"download", daemon.uri(), "pool/a", file("a"), "--limit-rate", "200K", "--resume"});
    BOOST_TEST_REQUIRE(support::eventually([&] { return fs::exists(part) && fs::file_size(part) > 0; }));
    std::signal(SIGPIPE, SIG_IGN); // The fixture closes a connection that is lost, too.
    daemon.kill();
    BOOST_TEST(program.end(0) == 1);
    printed = program.printed();
    BOOST_TEST(has_printed("pool/a to " + file("a") + ": "), printed);
    BOOST_TEST(has_printed("'" + part + "' is kept, and the same command continues it.\n"), printed);
}

BOOST_AUTO_TEST_CASE(what_goes_wrong)
{
    all.make("a", "of a");
    all.make_fresh("small", 2);
    fails(
        1, "No connection to qemu+unix:///session?socket=/nowhere: ",
        {"download", "qemu+unix:///session?socket=/nowhere", "pool/a", file("a")});
    fails(1, "'missing'", {"download", daemon.uri(), "pool/missing", file("a")});
    fails(1, "'nowhere'", {"download", daemon.uri(), "nowhere/a", file("a")});
    fails(1, file("nowhere/a"), {"download", daemon.uri(), "pool/a", file("nowhere/a")});
    fails(1, "'" + file("missing") + "'", {"upload", file("missing"), daemon.uri(), "pool/a"});
    write(file("abc"), "abc");
    fails(1, "3 bytes", {"upload", file("abc"), daemon.uri(), "pool/small"});
    fails(
        1, "the 4 bytes of the volume 'pool/a' do not fit into the volume 'pool/small' of 2 bytes",
        {"copy", daemon.uri(), "pool/a", daemon.uri(), "pool/small"});
    BOOST_TEST(!fs::exists(file("a")));
}

BOOST_AUTO_TEST_CASE(wrong_usage)
{
    fails(2, "download, upload or copy?", {});
    fails(2, "'move' is neither", {"move"});
    fails(2, "--nonsense", {"download", "--nonsense"});
    fails(2, "download needs a URI", {"download", "x:///", "pool/a"});
    fails(2, "'a' is not a volume", {"download", "x:///", "a", file("a")});
    fails(2, "is not a directory", {"download", "x:///", "pool/a", "pool/b", file("a")});
    fails(2, "two volumes would be", {"download", "x:///", "pool/a", "other/a", directory.path.string()});
    fails(2, "upload needs a file", {"upload", "x:///", "pool/a"});
    fails(2, "need a pool", {"upload", file("a"), file("b"), "x:///", "pool/a"});
    fails(2, "two files would be", {"upload", "a/x", "b/x", "x:///", "pool"});
    fails(2, "copy needs", {"copy", "x:///", "pool/a", "x:///"});
    fails(2, "cannot be copied to itself", {"copy", "x:///", "pool/a", "x:///", "pool/a"});
    for (const char* rate : {"0", "1.5M", "1T", "M", "-1", "20000000000G"})
        fails(2, "is not a rate", {"download", "x:///", "pool/a", "a", "--limit-rate=" + std::string(rate)});
    for (const char* jobs : {"0", "-1", "many"})
        fails(2, "--jobs", {"download", "x:///", "pool/a", "a", "--jobs=" + std::string(jobs)});
}

BOOST_AUTO_TEST_CASE(help)
{
    BOOST_TEST(run({"--help"}) == 0);
    for (const char* text :
         {"download", "upload", "copy", "--jobs", "--limit-rate", "--resume", "--verify", "--checksum",
          "--no-sparse", "Exit status"})
        BOOST_TEST(has_printed(text), text);
}

BOOST_AUTO_TEST_CASE(lines_now_and_then)
{
    all.make("a", text_of("a", 4 * mebibyte));
    auto program = start({"download", daemon.uri(), "pool/a", file("a"), "--limit-rate", "200K"});
    BOOST_TEST_REQUIRE(support::eventually([&] { return program.has_printed(" left\n"); }));
    BOOST_TEST(program.end(SIGTERM) == 130);
    printed = program.printed();
    BOOST_TEST(printed.starts_with("a: "), printed);
    BOOST_TEST(has_printed("% of 4.0 MiB, "), printed);
    BOOST_TEST(has_printed(" KiB/s, 0:"), printed);
    BOOST_TEST(!has_printed("\x1b"), printed);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// Two daemons.
struct copy_fixture : transfer_fixture
{
    support::libvirtd other;
    volumes others{other};

    int copy(const std::string& from, const std::string& to, std::vector<std::string> options = {})
    {
        std::vector<std::string> arguments{"copy", daemon.uri(), from, other.uri(), to};
        arguments.insert(arguments.end(), options.begin(), options.end());
        return run(arguments);
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(volume_copy, copy_fixture)

BOOST_AUTO_TEST_CASE(holes_are_kept)
{
    const auto from = all.make_fresh("from", 64 * mebibyte);
    write_at(from, 10 * mebibyte, text_of("a", mebibyte));
    write_at(from, 60 * mebibyte, text_of("b", mebibyte));
    all.refresh();
    const auto to = others.make_fresh("to", 65 * mebibyte);
    BOOST_TEST(copy("pool/from", "pool/to", {"--verify", "--checksum"}) == 0);
    BOOST_TEST((content(to) == content(from) + std::string(mebibyte, '\0')));
    BOOST_TEST(allocated(to) <= 3 * mebibyte);
    BOOST_TEST(has_printed("pool/from to pool/to: 2.0 MiB in "), printed);
    BOOST_TEST(has_printed(" and 62.0 MiB of holes\n"), printed);
    BOOST_TEST(has_printed("  pool/to\n"), printed);
}

BOOST_AUTO_TEST_CASE(old_data_is_overwritten)
{
    const auto from = all.make_fresh("from", 4 * mebibyte);
    write_at(from, mebibyte, text_of("a", mebibyte));
    all.refresh();
    const auto to = others.make("to", text_of("old", 5 * mebibyte));
    BOOST_TEST(copy("pool/from", "pool/to") == 0);
    BOOST_TEST((content(to) == content(from) + text_of("old", 5 * mebibyte).substr(4 * mebibyte)));
    write(to, text_of("old", 5 * mebibyte));
    BOOST_TEST(copy("pool/from", "pool/to", {"--resume"}) == 0);
    BOOST_TEST((content(to) == content(from) + text_of("old", 5 * mebibyte).substr(4 * mebibyte)));
}

BOOST_AUTO_TEST_CASE(without_holes)
{
    all.make_fresh("from", mebibyte);
    const auto to = others.make_fresh("to", mebibyte);
    BOOST_TEST(copy("pool/from", "pool/to", {"--no-sparse"}) == 0);
    BOOST_TEST(allocated(to) >= mebibyte);
}

BOOST_AUTO_TEST_CASE(nothing)
{
    all.make_fresh("from", 0);
    others.make_fresh("to", 0);
    BOOST_TEST(copy("pool/from", "pool/to", {"--verify", "--checksum", "--resume"}) == 0);
}

BOOST_AUTO_TEST_CASE(an_interrupted_copy)
{
    const auto from = all.make("from", "");
    make_sparse(from);
    all.refresh();
    const auto to = others.make_fresh("to", 64 * mebibyte);
    interrupt({"copy", daemon.uri(), "pool/from", other.uri(), "pool/to", "--limit-rate", "200K"}, [&] {
        return allocated(to) > 256 * 1024;
    });
    BOOST_TEST(has_printed("pool/from to pool/to: interrupted after "), printed);
    BOOST_TEST(
        has_printed(" of 64.0 MiB. pool/to contains a part of it; with --resume the same command"), printed);
    BOOST_TEST(copy("pool/from", "pool/to", {"--resume", "--verify"}) == 0);
    BOOST_TEST((content(to) == content(from)));
    BOOST_TEST(allocated(to) <= 6 * mebibyte);
    // There is nothing left to do.
    BOOST_TEST(copy("pool/from", "pool/to", {"--resume"}) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// A terminal of 60 columns. The program's end of it has a path.
class terminal
{
public:
    terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC))
    {
        winsize size{};
        size.ws_row = 25;
        size.ws_col = 60;
        BOOST_TEST_REQUIRE(::grantpt(master_) == 0);
        BOOST_TEST_REQUIRE(::unlockpt(master_) == 0);
        BOOST_TEST_REQUIRE(::ioctl(master_, TIOCSWINSZ, &size) == 0);
        slave_ = ::open(path().c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC); // Keeps what has been written.
    }

    ~terminal()
    {
        ::close(slave_);
        ::close(master_);
    }

    terminal(const terminal&) = delete;
    terminal& operator=(const terminal&) = delete;

    std::string path() const
    {
        return ::ptsname(master_);
    }

    /// Everything that has been printed so far.
    const std::string& printed()
    {
        pollfd polled{master_, POLLIN, 0};
        while (::poll(&polled, 1, 0) > 0) {
            char buffer[4096];
            const auto n = ::read(master_, buffer, sizeof buffer);
            if (n <= 0)
                break;
            printed_.append(buffer, static_cast<std::size_t>(n));
        }
        return printed_;
    }

    bool has_printed(const std::string& text)
    {
        return printed().find(text) != std::string::npos;
    }

private:
    const int master_;
    int slave_ = -1;
    std::string printed_;
};

} // namespace

BOOST_FIXTURE_TEST_CASE(a_bar_on_a_terminal, transfer_fixture)
{
    all.make("a", text_of("a", 4 * mebibyte));
    terminal screen;
    example program(
        VOLUME_TRANSFER, {"download", daemon.uri(), "pool/a", file("a"), "--limit-rate", "200K"},
        screen.path());
    BOOST_TEST_REQUIRE(support::eventually([&] { return screen.has_printed("[#"); }));
    BOOST_TEST_REQUIRE(support::eventually([&] { return screen.has_printed(" left ["); }));
    BOOST_TEST(program.end(SIGINT) == 130);
    const auto lines = screen.printed();
    BOOST_TEST_MESSAGE(lines);
    const std::string hide = "\x1b[?25l", show = "\x1b[?25h", erase = "\r\x1b[K";
    BOOST_TEST(lines.starts_with(hide + erase));
    BOOST_TEST(lines.rfind(show) > lines.rfind(hide));
    BOOST_TEST(lines.find("interrupted after ") > lines.rfind(show));
    // Each line fits.
    for (auto at = lines.find(erase); at != std::string::npos;) {
        const auto begin = at + erase.size();
        at = lines.find(erase, begin);
        if (at != std::string::npos)
            BOOST_TEST(at - begin < 60u);
    }
}
