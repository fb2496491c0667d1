// SPDX-License-Identifier: BSL-1.0
#include "example.hpp"

#include <support/temporary_directory.hpp>

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

struct screenshot_fixture
{
    const fs::path before = fs::current_path();
    const support::temporary_directory directory{"/tmp/avirt-screenshot-"};
    std::string printed;

    screenshot_fixture()
    {
        fs::current_path(directory.path);
    }

    ~screenshot_fixture()
    {
        fs::current_path(before);
    }

    int run(const std::vector<std::string>& arguments)
    {
        example screenshot(SCREENSHOT, arguments, directory.path / "output");
        const int status = screenshot.end(0);
        printed = screenshot.printed();
        return status;
    }

    void check_png(const fs::path& path) const
    {
        std::ifstream file(path, std::ios::binary);
        const std::string content{std::istreambuf_iterator<char>(file), {}};
        BOOST_TEST(content.starts_with("\x89PNG\r\n"));
        const auto size = std::to_string(content.size());
        BOOST_TEST(printed == path.string() + ": " + size + " bytes of image/png\n");
    }
};

BOOST_FIXTURE_TEST_SUITE(screenshot, screenshot_fixture)

BOOST_AUTO_TEST_CASE(a_file_named_after_the_domain_and_the_format)
{
    BOOST_TEST(run({"test:///default", "test"}) == 0);
    check_png("test.png");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_named)
{
    BOOST_TEST(run({"test:///default", "test", "the screen"}) == 0);
    check_png("the screen");
    BOOST_TEST(!fs::exists("test.png"));
}

BOOST_AUTO_TEST_CASE(what_goes_wrong)
{
    BOOST_TEST(run({"test:///default", "nobody"}) == 1);
    BOOST_TEST(printed.starts_with("screenshot: no picture of nobody: Domain not found"), printed);
    BOOST_TEST(run({"test:///default", "test", "nowhere/file"}) == 1);
    BOOST_TEST(
        printed
        == "screenshot: no picture of test: 'nowhere/file' cannot be written: No such file or directory\n");
    BOOST_TEST(run({"qemu+unix:///session?socket=/nowhere", "test"}) == 1);
    BOOST_TEST(printed.find("'/nowhere'") != std::string::npos, printed);
    BOOST_TEST(run({"test:///default"}) == 2);
    BOOST_TEST(printed == "usage: screenshot URI DOMAIN [FILE]\n");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
