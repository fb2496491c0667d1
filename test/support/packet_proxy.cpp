// SPDX-License-Identifier: BSL-1.0
#include "support/packet_proxy.hpp"

#include "support/unix_socket.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {
namespace {

// src/rpc/virnetprotocol.x
struct header
{
    std::uint32_t length, program, version, procedure, type, serial, status;
};

void send_in_pieces(int fd, std::string_view bytes)
{
    // 4093 divides no size that is in use.
    const std::size_t piece = bytes.size() < 4096 ? 1 : 4093;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
        send_all(fd, bytes.substr(0, piece));
}

} // namespace

packet_proxy::packet_proxy(std::filesystem::path daemon, script s)
    : daemon_(std::move(daemon)),
      script_(std::move(s))
{
    listener_ = listen_on(directory_.path / "socket");
    acceptor_ = std::thread([this] { accept_clients(); });
}

packet_proxy::~packet_proxy()
{
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    for (auto& l : links_) {
        ::shutdown(l.client, SHUT_RDWR);
        ::shutdown(l.daemon, SHUT_RDWR);
        l.up.join();
        l.down.join();
        ::close(l.client);
        ::close(l.daemon);
    }
}

void packet_proxy::cut_latest()
{
    const std::lock_guard guard(mutex_);
    ::shutdown(links_.back().client, SHUT_RDWR);
    ::shutdown(links_.back().daemon, SHUT_RDWR);
}

void packet_proxy::cut_all()
{
    const std::lock_guard guard(mutex_);
    for (const auto& l : links_) {
        ::shutdown(l.client, SHUT_RDWR);
        ::shutdown(l.daemon, SHUT_RDWR);
    }
}

std::string packet_proxy::uri() const
{
    return "qemu+unix:///session?socket=" + (directory_.path / "socket").string();
}

void packet_proxy::accept_clients()
{
    for (;;) {
        const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0)
            return;
        const int daemon = connect_to(daemon_);
        const std::lock_guard guard(mutex_);
        ++accepted_;
        auto& l = links_.emplace_back(link{client, daemon});
        l.up = std::thread([this, &l] { forward(l, true); });
        l.down = std::thread([this, &l] { forward(l, false); });
    }
}

void packet_proxy::forward(link& l, bool from_client)
{
    const int from = from_client ? l.client : l.daemon;
    const int to = from_client ? l.daemon : l.client;
    bool holds = false;
    for (std::string bytes(sizeof(header), '\0'); receive_all(from, bytes.data(), sizeof(header));
         bytes.resize(sizeof(header))) {
        std::array<std::uint32_t, sizeof(header) / 4> words{};
        std::memcpy(words.data(), bytes.data(), sizeof words);
        for (auto& w : words)
            w = ntohl(w);
        const auto [length, program, version, procedure, type, serial, status] = words;
        bytes.resize(length);
        if (!receive_all(from, bytes.data() + sizeof(header), length - sizeof(header)))
            break;
        if (holds)
            continue;
        const packet p{
            from_client, static_cast<packet::kind>(type), static_cast<packet::state>(status),
            std::string_view(bytes).substr(sizeof(header))};
        const auto v = [&] {
            const std::lock_guard guard(mutex_);
            return script_(p);
        }();
        switch (v) {
        case verdict::pass:
            send_all(to, bytes);
            continue;
        case verdict::fragment:
            send_in_pieces(to, bytes);
            continue;
        case verdict::hold:
            holds = true;
            continue;
        case verdict::cut_within:
            send_all(to, std::string_view(bytes).substr(0, bytes.size() / 2));
            break;
        case verdict::cut:
            break;
        }
        break;
    }
    ::shutdown(l.client, SHUT_RDWR);
    ::shutdown(l.daemon, SHUT_RDWR);
}

} // namespace support
