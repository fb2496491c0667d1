// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace support {

/// As much of libvirtd's protocol as opening a console takes, and whatever a script sends then: for what a
/// real daemon cannot be made to do on demand.
class fake_libvirtd
{
public:
    /// One client, whose console has just been opened.
    class session
    {
    public:
        session(int fd, std::uint32_t serial) : fd_(fd), serial_(serial) {}

        void data(std::string_view bytes);
        /// The same, a byte at a time.
        void fragments(std::string_view bytes);
        void eof();
        void error(int code, int domain, const std::string& message);
        void close();

    private:
        std::string packet(std::uint32_t status, std::string_view payload) const;

        int fd_;
        std::uint32_t serial_;
    };

    using script = std::function<void(session&)>;

    /// The script is run whenever a client has opened a console.
    explicit fake_libvirtd(script s);
    ~fake_libvirtd();
    fake_libvirtd(const fake_libvirtd&) = delete;
    fake_libvirtd& operator=(const fake_libvirtd&) = delete;

    std::string uri() const;

private:
    void serve();
    void serve_client(int fd);

    script script_;
    std::filesystem::path directory_;
    int listener_ = -1;
    std::thread thread_;
};

} // namespace support
