// SPDX-License-Identifier: BSL-1.0
#include "listener.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

constexpr auto nothrow = asio::as_tuple(asio::use_awaitable);

/// "tcp:HOST:PORT" and "unix:PATH"; an IPv6 address is in brackets.
struct address_parts
{
    bool is_tcp = false;
    std::string host{}; // or the path
    std::string port{};

    explicit address_parts(const std::string& text)
    {
        const auto last = text.rfind(':');
        if (text.starts_with("unix:")) {
            host = text.substr(5);
        }
        else if (text.starts_with("tcp:") && last > 4) {
            is_tcp = true;
            host = text.substr(4, last - 4);
            port = text.substr(last + 1);
            if (host.starts_with('[') && host.ends_with(']'))
                host = host.substr(1, host.size() - 2);
        }
    }

    bool are_complete() const
    {
        return !host.empty() && (!is_tcp || !port.empty());
    }

    /// Whether the port is in range: Asio takes a number that is too large modulo 65536.
    bool has_port() const
    {
        if (port.find_first_not_of("0123456789") != port.npos)
            return true; // The name of a service.
        return port.size() <= 5 && std::stoi(port) <= 65535;
    }
};

ending cannot_listen(const std::string& address, const error_code& why)
{
    if (why == asio::error::address_in_use)
        return {failed, address + " is in use already; choose another, or stop what is listening there."};
    return {failed, "Cannot listen on " + address + ": " + why.message() + "."};
}

} // namespace

class listener::client final : public sink
{
public:
    /// Throws system_error.
    client(protocol::socket connected, const door& at, relay& console)
        : socket(std::move(connected)),
          connected_to(at.address),
          may_type(at.may_type),
          view(console),
          hang_up_(socket.get_executor())
    {
        notice_dead_peer();
        const int set = ::epoll_create1(EPOLL_CLOEXEC);
        if (set < 0)
            throw std::system_error(errno, std::generic_category(), "epoll_create1");
        hang_up_.assign(set);
        epoll_event nothing{}; // Hang-ups and errors are always reported.
        if (::epoll_ctl(set, EPOLL_CTL_ADD, socket.native_handle(), &nothing))
            throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }

    asio::awaitable<void> write(std::string_view output) override
    {
        is_at_line_start_ = output.ends_with('\n');
        co_await asio::async_write(socket, asio::buffer(output.data(), output.size()), asio::use_awaitable);
    }

    asio::awaitable<void> say(std::string message) override
    {
        const auto line = (is_at_line_start_ ? "[" : "\r\n[") + message + "]\r\n";
        co_await write(line);
    }

    /// Completes when the client will send no more. Part of its input may still be unread.
    asio::awaitable<void> end_of_input()
    {
        return event(EPOLLRDHUP);
    }

    /// Completes when the client takes no more output either. For TCP, this shows with the next output.
    asio::awaitable<void> gone()
    {
        return event(0);
    }

    /// Sends the sentence to the client. The client's input is read meanwhile: closing a socket with unread
    /// input would discard what was sent.
    asio::awaitable<void> dismiss(std::string sentence)
    {
        co_await say("console_relay: " + sentence);
        error_code ignored;
        socket.shutdown(protocol::socket::shutdown_send, ignored);
        asio::steady_timer pause(socket.get_executor());
        do {
            discard_input();
            pause.expires_after(1ms);
            co_await pause.async_wait(nothrow);
        } while (is_sending());
        discard_input();
    }

    void close()
    {
        error_code ignored;
        socket.close(ignored);
        hang_up_.close(ignored);
    }

    protocol::socket socket;
    const std::string connected_to;
    const bool may_type;
    viewer view;

private:
    asio::awaitable<void> event(std::uint32_t wanted)
    {
        epoll_event watched{};
        watched.events = wanted;
        ::epoll_ctl(hang_up_.native_handle(), EPOLL_CTL_MOD, socket.native_handle(), &watched);
        co_await hang_up_.async_wait(asio::posix::descriptor_base::wait_read, nothrow);
    }

    /// Otherwise a peer whose machine is switched off would have the console for ever. Output may wait for
    /// the peer without limit, because the peer may just not be reading.
    void notice_dead_peer()
    {
        error_code ignored; // A Unix socket may refuse the option.
        socket.set_option(asio::socket_base::keep_alive(true), ignored);
        for (const auto& [name, value] : {std::pair(TCP_KEEPIDLE, 30), {TCP_KEEPINTVL, 10}, {TCP_KEEPCNT, 3}})
            ::setsockopt(socket.native_handle(), IPPROTO_TCP, name, &value, sizeof value);
    }

    void discard_input()
    {
        std::array<char, 4096> unread;
        while (::recv(socket.native_handle(), unread.data(), unread.size(), MSG_DONTWAIT) > 0)
            ;
    }

    /// Whether TCP has undelivered output. A Unix socket delivers output at once.
    bool is_sending()
    {
        int unsent = 0;
        int domain = 0;
        socklen_t size = sizeof domain;
        ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
        return domain != AF_UNIX && ::ioctl(socket.native_handle(), SIOCOUTQ, &unsent) == 0 && unsent != 0;
    }

    bool is_at_line_start_ = true;
    asio::posix::stream_descriptor hang_up_; // an epoll set: Asio itself does not report EPOLLRDHUP
};

listener::listener(asio::any_io_executor executor)
    : executor_(executor),
      on_change_(executor, std::chrono::steady_clock::time_point::max())
{
}

listener::~listener()
{
    close_doors();
}

void listener::close_doors()
{
    for (auto& at : doors_) {
        // The file is removed first: once the socket is closed, another process may replace the file.
        if (!at.path.empty())
            ::unlink(std::exchange(at.path, {}).c_str());
        error_code ignored;
        at.acceptor.close(ignored);
    }
}

void listener::check(const std::string& text)
{
    const address_parts parts(text);
    if (!parts.are_complete())
        throw std::invalid_argument("'" + text + "' is neither tcp:HOST:PORT nor unix:PATH");
    if (parts.is_tcp && !parts.has_port())
        throw std::invalid_argument("'" + text + "' has no port between 0 and 65535");
}

asio::awaitable<void> listener::bind(std::string address, bool may_type)
{
    const address_parts parts(address);
    if (parts.is_tcp)
        co_await bind_tcp(address, parts.host, parts.port, may_type);
    else
        bind_unix(address, parts.host, may_type);
}

asio::awaitable<void> listener::bind_tcp(
    std::string address, std::string host, std::string port, bool may_type)
{
    using asio::ip::tcp;
    tcp::resolver resolver(executor_);
    auto [ec, found] = co_await resolver.async_resolve(host, port, tcp::resolver::passive, nothrow);
    if (ec)
        throw cannot_listen(address, ec);
    const auto endpoint = found.begin()->endpoint();
    tcp::acceptor acceptor(executor_);
    acceptor.open(endpoint.protocol(), ec);
    if (!ec)
        acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec)
        acceptor.bind(endpoint, ec);
    if (!ec)
        acceptor.listen(tcp::acceptor::max_listen_connections, ec);
    if (ec)
        throw cannot_listen(address, ec);
    std::ostringstream actual; // The port may have been 0.
    actual << "tcp:" << acceptor.local_endpoint();
    doors_.push_back({actual.str(), may_type, std::move(acceptor)});
}

void listener::bind_unix(std::string address, std::string path, bool may_type)
{
    using asio::local::stream_protocol;
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        throw ending(failed, "Cannot listen on " + address + ": the path is too long for a socket.");
    const stream_protocol::endpoint endpoint(path);
    error_code ec;

    // The socket file of a process that was killed refuses connections.
    stream_protocol::socket probe(executor_);
    probe.connect(endpoint, ec);
    if (!ec)
        throw cannot_listen(address, asio::error::address_in_use);
    struct stat there;
    if (ec == asio::error::connection_refused && !::lstat(path.c_str(), &there) && S_ISSOCK(there.st_mode))
        ::unlink(path.c_str());

    stream_protocol::acceptor acceptor(executor_);
    acceptor.open(endpoint.protocol(), ec);
    const auto mask = ::umask(0177); // Every client that can connect gets the console.
    acceptor.bind(endpoint, ec);
    ::umask(mask);
    if (ec)
        throw cannot_listen(address, ec);
    doors_.push_back({address, may_type, std::move(acceptor), path});
    doors_.back().acceptor.listen(stream_protocol::acceptor::max_listen_connections, ec);
    if (ec)
        throw cannot_listen(address, ec);
}

asio::awaitable<ending> listener::run(relay& console)
{
    for (auto& at : doors_) {
        std::cerr << "listening on " << at.address << (at.may_type ? "" : " (shows only)") << std::endl;
        asio::co_spawn(executor_, accept(at, console), asio::detached);
    }
    asio::steady_timer forever(executor_, std::chrono::steady_clock::time_point::max());
    co_await forever.async_wait(asio::use_awaitable);
    co_return ending(succeeded, "");
}

asio::awaitable<void> listener::accept(door& at, relay& console)
{
    for (;;) {
        auto [ec, socket] = co_await at.acceptor.async_accept(nothrow);
        if (!at.acceptor.is_open())
            co_return;
        if (ec) { // Perhaps a lack of file descriptors, which may pass.
            asio::steady_timer pause(executor_, 100ms);
            co_await pause.async_wait(nothrow);
            continue;
        }
        std::shared_ptr<client> peer;
        try {
            peer = std::make_shared<client>(std::move(socket), at, console);
        }
        catch (const std::exception&) {
            continue; // There are no resources for this client.
        }
        asio::co_spawn(executor_, serve(peer, console), asio::detached);
    }
}

asio::awaitable<void> listener::serve(std::shared_ptr<client> peer, relay& console)
{
    enter(peer);
    const auto first = co_await (show(*peer) || hear(*peer, console));
    const bool is_over = first.index() == 0 && std::get<0>(first);
    while (is_over && !reason_)
        co_await on_change_.async_wait(nothrow);
    try {
        if (is_over)
            co_await peer->dismiss(*reason_);
    }
    catch (const boost::system::system_error&) { // The client is gone, or too slow.
    }
    leave(peer);
}

/// Returns false if the client is gone before the console has ended.
asio::awaitable<bool> listener::show(client& peer)
{
    try {
        co_await peer.view.show(peer);
        co_return true;
    }
    catch (const boost::system::system_error&) {
        co_return false;
    }
}

/// Completes when the client has been served.
asio::awaitable<void> listener::hear(client& peer, relay& console)
{
    const auto input = [&]() -> asio::awaitable<void> {
        std::array<char, 4096> buffer;
        for (;;) {
            auto [ec, n] = co_await peer.socket.async_read_some(asio::buffer(buffer), nothrow);
            if (ec)
                co_return;
            if (typist().get() == &peer)
                co_await console.type({buffer.data(), n});
        }
    };
    // While the guest takes no input, input() does not reach the end of the client's input.
    const auto end = [&]() -> asio::awaitable<void> {
        co_await peer.end_of_input();
        co_await peer.view.silence(relay::answer_time);
    };
    if (!peer.may_type) {
        co_await input();
        co_return co_await peer.gone();
    }
    const auto first = co_await (input() || end());
    if (first.index() == 0)
        co_await (peer.gone() || peer.view.silence(relay::answer_time));
}

void listener::enter(const std::shared_ptr<client>& peer)
{
    std::cerr << "a client came to " << peer->connected_to << std::endl;
    clients_.push_back(peer);
    if (peer->may_type && typist() != peer)
        peer->view.tell("console_relay: another client types; this one looks on");
}

void listener::leave(const std::shared_ptr<client>& peer)
{
    const auto before = typist();
    std::erase(clients_, peer);
    peer->close();
    on_change_.cancel();
    if (reason_)
        return;
    std::cerr << "the client of " << peer->connected_to << " left" << std::endl;
    if (const auto next = typist(); next && before == peer)
        next->view.tell("console_relay: the other client has left; what is typed here goes to the guest now");
}

std::shared_ptr<listener::client> listener::typist() const
{
    const auto found = std::ranges::find_if(clients_, [](const auto& c) { return c->may_type; });
    return found == clients_.end() ? nullptr : *found;
}

asio::awaitable<void> listener::close(std::string reason)
{
    close_doors();
    reason_ = std::move(reason);
    on_change_.cancel();
    const auto all_left = [&]() -> asio::awaitable<void> {
        while (!clients_.empty())
            co_await on_change_.async_wait(nothrow);
    };
    asio::steady_timer patience(executor_, 1s);
    co_await (all_left() || patience.async_wait(nothrow));
    for (const auto& peer : clients_)
        peer->close();
}
