// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "remote_fixture.hpp"

#include <support/coroutine.hpp>
#include <support/gate.hpp>
#include <support/packet_proxy.hpp>

#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>

/// Counts the packets of data that clients of a daemon write to their streams.
class packet_counter
{
public:
    /// Returns the sizes of the packets since the last call.
    std::vector<std::size_t> packets()
    {
        const std::lock_guard guard(mutex_);
        return std::exchange(sizes_, {});
    }

    /// Opens when a client finishes or aborts a stream.
    support::gate ended;

private:
    std::mutex mutex_;
    std::vector<std::size_t> sizes_;

protected:
    support::libvirtd& daemon_behind = support::answering_daemon();
    support::packet_proxy between{daemon_behind.socket(), [this](const support::packet_proxy::packet& p) {
                                      if (p.from_client && p.is_stream_data()) {
                                          const std::lock_guard guard(mutex_);
                                          sizes_.push_back(p.payload.size());
                                      }
                                      else if (p.from_client && p.is_stream_end())
                                          ended.open();
                                      return support::packet_proxy::verdict::pass;
                                  }};
};

/// A server, on a thread of its own.
class server_thread
{
public:
    using socket = asio::local::stream_protocol::socket;

    ~server_thread()
    {
        if (thread_.joinable()) {
            ::shutdown(socket_.native_handle(), SHUT_RDWR); // Frees the server if the test has failed.
            thread_.join();
        }
    }

    void listen(const std::filesystem::path& path)
    {
        std::filesystem::remove(path);
        const asio::local::stream_protocol::endpoint endpoint(path);
        acceptor_.open(endpoint.protocol());
        acceptor_.bind(endpoint);
        acceptor_.listen();
        ::chmod(path.c_str(), 0666);
    }

    socket accept()
    {
        return acceptor_.accept();
    }

    /// Accepts a client, and calls server(socket&) on the thread. The future is that of its end.
    std::future<void> serve(std::function<void(socket&)> server)
    {
        socket_ = acceptor_.accept();
        std::packaged_task<void()> task([this, server] { server(socket_); });
        auto result = task.get_future();
        thread_ = std::thread(std::move(task));
        return result;
    }

private:
    asio::io_context io_;
    asio::local::stream_protocol::acceptor acceptor_{io_};
    socket socket_{io_};
    std::thread thread_;
};

/// A server at the other end of a stream. The guest's channel is a Unix socket on which the test listens:
/// QEMU connects to it, and then libvirtd does, for the client that opens the channel.
struct peer_fixture : packet_counter, server_thread, remote_fixture
{
    peer_fixture() : remote_fixture(daemon_behind, between.uri())
    {
        const auto path = daemon.directory() / "peer.socket";
        listen(path);
        const std::string pty = "<serial type='pty'/>";
        auto xml = daemon.guest_xml("peer", avirt_demo_guest);
        xml.replace(
            xml.find(pty), pty.size(),
            "<channel type='unix'><source mode='connect' path='" + path.string()
                + "'/><target type='virtio' name='peer'/></channel>");
        call([xml](virConnectPtr c) {
            if (!avirt::domain{virDomainCreateXML(c, xml.c_str(), VIR_DOMAIN_START_PAUSED)})
                avirt::throw_last_error();
        });
        qemu_.emplace(accept());
    }

    ~peer_fixture()
    {
        stream.close();
        on_guest("peer", virDomainDestroy);
    }

    /// Opens the stream, and runs the server with the socket at its other end.
    void serve(std::function<void(socket&)> server)
    {
        open_stream(avirt::channel{"peer", "peer"});
        served_ = server_thread::serve(std::move(server));
    }

    /// Runs until the server has returned. Rethrows its exception.
    void wait_for_server()
    {
        run_until([this] { return served_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
        served_.get();
    }

    /// Runs the client, a coroutine, to its end, and waits for the server.
    template <class Coroutine>
    void run_client(Coroutine client)
    {
        support::run_coroutine(*this, std::move(client));
        wait_for_server();
    }

private:
    std::optional<socket> qemu_;
    std::future<void> served_;
};
