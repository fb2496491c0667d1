// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <boost/asio.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

/// Serves the console to clients, at addresses such as "tcp:HOST:PORT" and "unix:PATH". All look on; of those
/// that may type, the one that came first does.
class listener
{
public:
    explicit listener(asio::any_io_executor executor);

    /// Closes the sockets, and removes their files.
    ~listener();

    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    /// Throws std::invalid_argument if the text does not have the form of an address.
    static void check(const std::string& text);

    /// Throws an ending that tells the user what to do if the address cannot be used.
    /// @param may_type Whether the clients may type.
    asio::awaitable<void> bind(std::string address, bool may_type);

    /// Serves clients until it is cancelled.
    asio::awaitable<ending> run(relay& console);

    /// Tells all clients the reason, when they have taken all output, and serves no clients any more. To be
    /// called after the console has been closed.
    asio::awaitable<void> close(std::string reason);

private:
    using protocol = asio::generic::stream_protocol;
    class client;

    struct door
    {
        std::string address;
        bool may_type;
        asio::basic_socket_acceptor<protocol> acceptor;
        std::string path{}; // the file of a Unix socket, to be removed
    };

    asio::awaitable<void> bind_tcp(std::string address, std::string host, std::string port, bool may_type);
    void bind_unix(std::string address, std::string path, bool may_type);
    void close_doors();
    asio::awaitable<void> accept(door& at, relay& console);
    asio::awaitable<void> serve(std::shared_ptr<client> peer, relay& console);
    asio::awaitable<bool> show(client& peer);
    asio::awaitable<void> hear(client& peer, relay& console);
    void enter(const std::shared_ptr<client>& peer);
    void leave(const std::shared_ptr<client>& peer);
    std::shared_ptr<client> typist() const;

    asio::any_io_executor executor_;
    std::vector<door> doors_;
    std::vector<std::shared_ptr<client>> clients_; // the one that came first is the first
    std::optional<std::string> reason_;
    asio::steady_timer on_change_; // of the reason, or of the clients, after the console has ended: cancelled
};
