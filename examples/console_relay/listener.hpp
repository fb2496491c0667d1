// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <boost/asio.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// Serves the console to clients, one at a time, at addresses such as "tcp:HOST:PORT" and "unix:PATH".
class listener
{
public:
    explicit listener(asio::any_io_executor executor) : executor_(executor) {}

    /// Closes the sockets, and removes their files.
    ~listener();

    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    /// Throws std::invalid_argument if the text does not have the form of an address.
    static void check(const std::string& text);

    /// Throws an ending that tells the user what to do if the address cannot be used.
    asio::awaitable<void> bind(std::string address);

    /// Serves clients until it is cancelled.
    asio::awaitable<ending> run(relay& console);

    /// Tells the current client the reason, and serves no clients any more.
    asio::awaitable<void> close(std::string reason);

private:
    using protocol = asio::generic::stream_protocol;
    class client;

    struct door
    {
        std::string address;
        asio::basic_socket_acceptor<protocol> acceptor;
        std::string path{}; // the file of a Unix socket, to be removed
    };

    asio::awaitable<void> bind_tcp(std::string address, std::string host, std::string port);
    void bind_unix(std::string address, std::string path);
    void close_doors();
    asio::awaitable<void> accept(door& at, relay& console);
    asio::awaitable<void> serve(std::shared_ptr<client> peer, relay& console);

    asio::any_io_executor executor_;
    std::vector<door> doors_;
    std::shared_ptr<client> client_;
};
