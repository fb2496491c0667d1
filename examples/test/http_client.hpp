// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct http_answer
{
    int status = 0; // 0: there is no answer
    std::string header{};
    std::string body{};
};

/// A client whose functions block. They give up after half a minute, which a test takes for a failure.
class http_client
{
public:
    explicit http_client(std::uint16_t port)
    {
        const int little = 4096;
        const timeval limit{30, 0};
        sockaddr_in server{};
        server.sin_family = AF_INET;
        server.sin_port = htons(port);
        server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        BOOST_TEST_REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&server), sizeof server) == 0);
    }

    ~http_client()
    {
        ::close(socket_);
    }

    http_client(const http_client&) = delete;
    http_client& operator=(const http_client&) = delete;

    void send(const std::string& method, const std::string& target, const std::string& body = "")
    {
        send_raw(
            method + ' ' + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
            + std::to_string(body.size()) + "\r\n\r\n" + body);
    }

    void send_raw(const std::string& text)
    {
        ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    }

    http_answer receive()
    {
        http_answer a;
        a.header = receive_until("\r\n\r\n");
        if (a.header.empty())
            return a;
        a.status = std::stoi(a.header.substr(a.header.find(' ')));
        constexpr const char* name = "Content-Length: ";
        const auto length = a.header.find(name);
        if (length != std::string::npos)
            a.body = receive_exactly(std::stoul(a.header.substr(length + std::strlen(name))));
        return a;
    }

    http_answer ask(const std::string& method, const std::string& target, const std::string& body = "")
    {
        send(method, target, body);
        return receive();
    }

    /// Receives events up to one that contains the text. The result is empty if there is none.
    std::string event_with(const std::string& text)
    {
        std::string event;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (std::chrono::steady_clock::now() < end) {
            event = receive_until("\n\n");
            if (event.empty() || event.find(text) != std::string::npos)
                return event;
            passed_ += event;
        }
        return "";
    }

    /// The events that event_with() has passed over.
    const std::string& passed() const noexcept
    {
        return passed_;
    }

    /// Whether the server closes the connection.
    bool is_closed()
    {
        event_with("no event contains this");
        return has_ended_;
    }

    void end_sending()
    {
        ::shutdown(socket_, SHUT_WR);
    }

private:
    bool receive_more()
    {
        char some[4096];
        const auto n = ::recv(socket_, some, sizeof some, 0);
        has_ended_ = n == 0 || (n < 0 && errno == ECONNRESET);
        if (n > 0)
            received_.append(some, static_cast<std::size_t>(n));
        return n > 0;
    }

    std::string receive_until(const std::string& end)
    {
        std::size_t found = 0;
        while ((found = received_.find(end)) == std::string::npos) {
            if (!receive_more())
                return "";
        }
        return take(found + end.size());
    }

    std::string receive_exactly(std::size_t size)
    {
        while (received_.size() < size && receive_more())
            ;
        return take(size);
    }

    std::string take(std::size_t size)
    {
        auto result = received_.substr(0, size);
        received_.erase(0, size);
        return result;
    }

    const int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_ended_ = false;
    std::string received_;
    std::string passed_;
};
