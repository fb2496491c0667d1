// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <boost/asio.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// Lets clients have the console, one at a time: "tcp:HOST:PORT" and "unix:PATH".
class listener
{
public:
    explicit listener(asio::any_io_executor executor) : executor_(executor) {}

    /// Removes the sockets.
    ~listener();

    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    /// Throws std::invalid_argument where the text has not the form of an address.
    static void check(const std::string& text);

    /// Throws an ending that says what to do about it.
    asio::awaitable<void> bind(std::string address);

    /// Serves clients until it is cancelled.
    asio::awaitable<ending> run(relay& console);

    /// Tells the client why it is over, and serves nobody any more.
    asio::awaitable<void> close(std::string reason);

private:
    using protocol = asio::generic::stream_protocol;
    class client;

    struct door
    {
        std::string address;
        asio::basic_socket_acceptor<protocol> acceptor;
        std::string path{}; // of a socket that is a file, to be removed
    };

    asio::awaitable<void> bind_tcp(std::string address, std::string host, std::string port);
    void bind_unix(std::string address, std::string path);
    void close_doors();
    asio::awaitable<void> accept(door& at, relay& console);
    asio::awaitable<void> serve(std::shared_ptr<client> who, relay& console);

    asio::any_io_executor executor_;
    std::vector<door> doors_;
    std::shared_ptr<client> client_;
};
