// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>
#include <avirt/progress.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/send_all.hpp>
#include <avirt/transfer_options.hpp>
#include <avirt/with_details.hpp>
#include <support/loop_fixture.hpp>
#include <support/printing.hpp>

#include <boost/asio/append.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Transfers between streams that are not libvirt's.

namespace asio = boost::asio;
using avirt::error_code;
using avirt::progress;
using avirt::transfer_options;
using local_socket = asio::local::stream_protocol::socket;

inline const error_code aborted = asio::error::operation_aborted;

/// What a transfer has completed with.
class transfer_outcome
{
public:
    auto handler() const
    {
        return [s = state_](error_code ec, progress p) {
            ++s->calls;
            s->ec = ec;
            s->reached = p;
        };
    }

    bool is_done() const noexcept
    {
        return state_->calls > 0;
    }

    int calls() const noexcept
    {
        return state_->calls;
    }

    error_code ec() const noexcept
    {
        return state_->ec;
    }

    progress reached() const noexcept
    {
        return state_->reached;
    }

private:
    struct state
    {
        int calls = 0;
        error_code ec = asio::error::fault;
        progress reached;
    };

    std::shared_ptr<state> state_ = std::make_shared<state>();
};

struct socket_pair
{
    explicit socket_pair(asio::io_context& io) : near(io), far(io)
    {
        asio::local::connect_pair(near, far);
    }

    local_socket near;
    local_socket far;
};

inline std::string random_bytes(std::size_t size, unsigned state = 12345)
{
    std::string text(size, '\0');
    for (auto& c : text) {
        state = state * 1664525 + 1013904223;
        c = static_cast<char>(state >> 24);
    }
    return text;
}

struct transfer_fixture
{
    void run_until(const std::function<bool()>& done)
    {
        support::run_until(io, done);
    }

    void run_until_done(const transfer_outcome& o)
    {
        run_until([&] { return o.is_done(); });
    }

    /// Runs until the transfer is done, and checks its result.
    void check(const transfer_outcome& o, const error_code& ec, std::uint64_t bytes)
    {
        run_until_done(o);
        BOOST_TEST(o.calls() == 1);
        BOOST_TEST(o.ec() == ec);
        BOOST_TEST(o.reached().bytes == bytes);
    }

    /// Runs until nothing is left to do.
    void settle()
    {
        int rest = 0;
        for (int round = 0; round < 10000 && rest < 50; ++round) {
            io.restart();
            rest = io.poll() == 0 ? rest + 1 : 0;
        }
        BOOST_REQUIRE(rest == 50);
    }

    /// Writes the text to the socket, and ends it.
    void feed(local_socket& to, const std::string& text)
    {
        const auto kept = std::make_shared<std::string>(text);
        asio::async_write(to, asio::buffer(*kept), [&to, kept](error_code, std::size_t) {
            error_code ec;
            to.shutdown(asio::socket_base::shutdown_send, ec);
        });
    }

    struct arrival
    {
        std::string text{};
        bool has_ended = false;
    };

    /// Reads everything that arrives at the socket.
    std::shared_ptr<arrival> drain(local_socket& from)
    {
        const auto all = std::make_shared<arrival>();
        asio::async_read(
            from, asio::dynamic_buffer(all->text), [all](error_code, std::size_t) { all->has_ended = true; });
        return all;
    }

    /// Ends the socket, and checks what has arrived at the other one.
    void check_received(local_socket& to, const arrival& all, const std::string& expected)
    {
        to.shutdown(asio::socket_base::shutdown_send);
        run_until([&] { return all.has_ended; });
        BOOST_TEST((all.text == expected));
    }

    asio::io_context io;
    socket_pair source{io};
    socket_pair sink{io};
    transfer_options options;
};

/// A stream in memory that has holes. Each read returns a few bytes, each write takes a few.
class holey_stream
{
public:
    using executor_type = asio::io_context::executor_type;

    struct extent
    {
        std::string data{};
        std::uint64_t hole = 0; // instead of data
    };

    explicit holey_stream(asio::io_context& io, std::size_t most = 7) : io_(&io), most_(most) {}

    executor_type get_executor() const noexcept
    {
        return io_->get_executor();
    }

    template <class Token>
    auto async_read_some(asio::mutable_buffer buffer, Token&& token)
    {
        return start<void(error_code, std::size_t)>(token, [this, buffer] {
            while (!content.empty() && content.front().hole == 0 && content.front().data.empty())
                content.pop_front();
            if (content.empty())
                return std::pair(error_code(asio::error::eof), std::size_t{0});
            if (content.front().hole != 0)
                return std::pair(error_code(avirt::error::at_hole), std::size_t{0});
            auto& data = content.front().data;
            const auto n = asio::buffer_copy(buffer, asio::buffer(data, most_));
            data.erase(0, n);
            return std::pair(error_code(), n);
        });
    }

    template <class Token>
    auto async_read_hole(Token&& token)
    {
        return start<void(error_code, std::uint64_t)>(token, [this] {
            const auto length = content.front().hole;
            content.pop_front();
            return std::pair(error_code(), length);
        });
    }

    template <class Token>
    auto async_write_some(asio::const_buffer buffer, Token&& token)
    {
        return start<void(error_code, std::size_t)>(token, [this, buffer] {
            const auto n = std::min(buffer.size(), most_);
            if (content.empty() || content.back().hole != 0)
                content.emplace_back();
            content.back().data.append(static_cast<const char*>(buffer.data()), n);
            return std::pair(error_code(), n);
        });
    }

    template <class Token>
    auto async_write_hole(std::uint64_t length, Token&& token)
    {
        return asio::async_initiate<Token, void(error_code)>(
            [this](auto handler, std::uint64_t hole) {
                content.push_back({{}, hole});
                asio::post(*io_, asio::append(std::move(handler), error_code()));
            },
            token, length);
    }

    /// What the stream contains, with zeros in the place of holes.
    std::string text() const
    {
        std::string all;
        for (const auto& e : content)
            all += e.hole != 0 ? std::string(static_cast<std::size_t>(e.hole), '\0') : e.data;
        return all;
    }

    std::deque<extent> content;

private:
    template <class Signature, class Token, class Perform>
    auto start(Token& token, Perform perform)
    {
        return asio::async_initiate<Token, Signature>(
            [this](auto handler, Perform p) {
                const auto [ec, n] = p();
                asio::post(*io_, asio::append(std::move(handler), ec, n));
            },
            token, std::move(perform));
    }

    asio::io_context* io_;
    std::size_t most_;
};
