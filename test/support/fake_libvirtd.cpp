// SPDX-License-Identifier: BSL-1.0
#include "support/fake_libvirtd.hpp"

#include "support/unix_socket.hpp"
#include "support/xdr.hpp"

#include <array>
#include <stdexcept>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {
namespace {

// src/remote/remote_protocol.x and src/rpc/virnetprotocol.x
constexpr std::uint32_t program = 0x20008086;
enum type : std::uint32_t { call, reply, message, stream };
enum status : std::uint32_t { ok, failed, goes_on };
enum procedure : std::uint32_t {
    connect_close = 2,
    domain_lookup_by_name = 23,
    connect_supports_feature = 60,
    auth_list = 66,
    domain_open_console = 201
};

struct header
{
    std::uint32_t length, program, version, procedure, type, serial, status;
};

std::string make_packet(
    std::uint32_t procedure, std::uint32_t type, std::uint32_t serial, std::uint32_t status,
    std::string_view payload)
{
    const auto length = static_cast<std::uint32_t>(sizeof(header) + payload.size());
    auto p = xdr(length, program, 1, procedure, type, serial, status).bytes;
    p += payload;
    return p;
}

std::string result_of(std::uint32_t procedure)
{
    switch (procedure) {
    case auth_list:
        return xdr(1, 0).bytes; // None.
    case connect_supports_feature:
        return xdr(0).bytes;
    case domain_lookup_by_name:
        return xdr("vm", encoded{std::string(16, 'u')}, 1).bytes;
    default:
        return {};
    }
}

} // namespace

std::string fake_libvirtd::session::packet(std::uint32_t status, std::string_view payload) const
{
    return make_packet(domain_open_console, stream, serial_, status, payload);
}

void fake_libvirtd::session::data(std::string_view bytes)
{
    send_all(fd_, packet(goes_on, bytes));
}

void fake_libvirtd::session::fragments(std::string_view bytes)
{
    for (const char c : packet(goes_on, bytes))
        send_all(fd_, {&c, 1});
}

void fake_libvirtd::session::eof()
{
    send_all(fd_, packet(goes_on, {}));
}

void fake_libvirtd::session::error(int code, int domain, const std::string& text)
{
    const encoded nothing = xdr(0, 0, 0, 0, 0, 0, 0); // No domain, three strings, two numbers, network.
    send_all(
        fd_, packet(failed, xdr(code, domain, std::optional(text), 2 /* VIR_ERR_ERROR */, nothing).bytes));
}

void fake_libvirtd::session::close()
{
    ::shutdown(fd_, SHUT_RDWR);
}

fake_libvirtd::fake_libvirtd(script s) : script_(std::move(s))
{
    std::string name = "/tmp/avirt-fake-XXXXXX";
    if (!::mkdtemp(name.data()))
        throw std::runtime_error("mkdtemp");
    directory_ = name;
    listener_ = listen_on(directory_ / "socket");
    thread_ = std::thread([this] { serve(); });
}

fake_libvirtd::~fake_libvirtd()
{
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    std::filesystem::remove_all(directory_);
}

std::string fake_libvirtd::uri() const
{
    return "qemu+unix:///session?socket=" + (directory_ / "socket").string();
}

void fake_libvirtd::serve()
{
    struct client
    {
        int fd;
        std::thread thread;
    };
    std::vector<client> clients;
    for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        clients.push_back({fd, std::thread([this, fd] { serve_client(fd); })});
    }
    for (auto& c : clients) {
        ::shutdown(c.fd, SHUT_RDWR);
        c.thread.join();
        ::close(c.fd);
    }
}

void fake_libvirtd::serve_client(int fd)
{
    std::array<std::uint32_t, 7> words{};
    while (receive_all(fd, words.data(), sizeof words)) {
        for (auto& w : words)
            w = ntohl(w);
        const auto [length, prog, version, proc, kind, serial, state] = words;
        std::string payload(length - sizeof words, '\0');
        if (!receive_all(fd, payload.data(), payload.size()))
            break;
        if (kind == stream && state == goes_on)
            continue; // Nobody reads it.
        const auto answer = kind == stream ? stream : reply;
        send_all(fd, make_packet(proc, answer, serial, ok, kind == stream ? std::string() : result_of(proc)));
        if (kind == call && proc == domain_open_console) {
            session s(fd, serial);
            script_(s);
        }
        if (proc == connect_close)
            break;
    }
    ::shutdown(fd, SHUT_RDWR);
}

} // namespace support
