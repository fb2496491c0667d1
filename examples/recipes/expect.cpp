// SPDX-License-Identifier: BSL-1.0
//
// Waits for a prompt on a guest's console, answers it, and prints what comes up to the next prompt:
//
//     expect DOMAIN PROMPT ANSWER NEXT_PROMPT [URI]      expect vm1 "login: " root "Password: "

#include <avirt/avirt.hpp>

#include <boost/asio.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <string>

namespace asio = boost::asio;
using namespace std::chrono_literals;

const auto throwing = avirt::with_details(asio::use_awaitable); // The exception contains libvirt's message.

/// Returns what the guest prints up to the prompt. `received` keeps what follows it.
asio::awaitable<std::string> expect(avirt::async_stream& console, std::string& received, std::string prompt)
{
    auto [ec, size] = co_await asio::async_read_until(
        console, asio::dynamic_buffer(received), prompt,
        avirt::cancel_after(1min, asio::as_tuple(asio::use_awaitable)));
    if (ec == asio::error::operation_aborted)
        ec = asio::error::timed_out;
    if (ec)
        throw boost::system::system_error(ec, "waiting for \"" + prompt + '"');
    const auto text = received.substr(0, size);
    received.erase(0, size);
    co_return text;
}

asio::awaitable<void> converse(
    asio::io_context& io, std::string domain, std::string prompt, std::string answer, std::string next_prompt,
    std::string uri)
{
    avirt::connection connection{io};
    co_await connection.async_open(uri, throwing);
    avirt::async_stream console{io};
    co_await console.async_open(connection, avirt::console{domain}, throwing);

    // Enter makes a guest repeat a prompt that it printed before the console was open.
    co_await asio::async_write(console, asio::buffer("\r", 1), throwing);
    std::string received;
    co_await expect(console, received, prompt);
    answer += '\r';
    co_await asio::async_write(console, asio::buffer(answer), throwing);
    std::cout << co_await expect(console, received, next_prompt) << std::endl;

    co_await console.async_finish(throwing);
}

int main(int argc, char* argv[])
try {
    if (argc < 5 || argc > 6) {
        std::cerr << "usage: expect DOMAIN PROMPT ANSWER NEXT_PROMPT [URI]\n";
        return 2;
    }
    asio::io_context io;
    avirt::event_loop loop{io};
    auto result = asio::co_spawn(
        io, converse(io, argv[1], argv[2], argv[3], argv[4], argc > 5 ? argv[5] : ""), asio::use_future);
    io.run();
    result.get();
}
catch (const std::exception& e) {
    std::cerr << "expect: " << e.what() << '\n';
    return 1;
}
