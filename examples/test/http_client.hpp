// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <cstddef>
#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/time.h>

namespace asio = boost::asio;

struct http_answer
{
    int status = 0; // 0: the server has closed the connection
    std::string header{};
    std::string body{};
};

/// A client whose functions block, for a minute at most.
class http_client
{
public:
    explicit http_client(unsigned short port)
    {
        socket_.open(asio::ip::tcp::v4());
        socket_.set_option(asio::socket_base::receive_buffer_size(4096));
        const timeval limit{60, 0};
        ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        socket_.connect({asio::ip::address_v4::loopback(), port});
    }

    void send(const std::string& method, const std::string& target, const std::string& body = "")
    {
        const auto request = method + ' ' + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
            + std::to_string(body.size()) + "\r\n\r\n" + body;
        asio::write(socket_, asio::buffer(request));
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
        for (;;) {
            auto event = receive_until("\n\n");
            if (event.empty() || event.find(text) != std::string::npos)
                return event;
            passed_ += event;
        }
    }

    /// The events that event_with() has passed over.
    const std::string& passed() const noexcept
    {
        return passed_;
    }

    void end_sending()
    {
        socket_.shutdown(asio::socket_base::shutdown_send);
    }

private:
    std::string receive_until(const std::string& end)
    {
        boost::system::error_code ec;
        return taken(asio::read_until(socket_, asio::dynamic_buffer(received_), end, ec));
    }

    std::string receive_exactly(std::size_t size)
    {
        if (size > received_.size())
            asio::read(
                socket_, asio::dynamic_buffer(received_), asio::transfer_exactly(size - received_.size()));
        return taken(size);
    }

    std::string taken(std::size_t size)
    {
        auto result = received_.substr(0, size);
        received_.erase(0, size);
        return result;
    }

    asio::io_context io_;
    asio::ip::tcp::socket socket_{io_};
    std::string received_;
    std::string passed_;
};
