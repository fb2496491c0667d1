// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "example.hpp"

#include <support/eventually.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// A running example that is a server. It is up, and has printed its address.
class serving_example : public example
{
public:
    serving_example(const char* path, std::vector<std::string> arguments, std::filesystem::path output)
        : example(path, std::move(arguments), std::move(output))
    {
        const bool is_up = support::eventually([this] {
            const auto text = printed();
            return text.find("listening on ") == 0 && text.find('\n') != std::string::npos;
        });
        BOOST_TEST_REQUIRE(is_up, printed());
        const auto address = printed().substr(0, printed().find('\n'));
        port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    }

    using example::signal;

    std::uint16_t port() const noexcept
    {
        return port_;
    }

    /// The largest amount of memory that has been resident so far.
    std::size_t peak_bytes() const
    {
        const auto status = content("/proc/" + std::to_string(pid()) + "/status");
        constexpr const char* name = "VmHWM:";
        return std::stoul(status.substr(status.find(name) + std::strlen(name))) * 1024;
    }

private:
    std::uint16_t port_ = 0;
};
