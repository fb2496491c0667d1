// SPDX-License-Identifier: BSL-1.0

// Transfers the content of storage volumes to files, from files, and between two hosts.

#include "batch.hpp"
#include "command_line.hpp"
#include "copy.hpp"
#include "display.hpp"
#include "file_transfers.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace asio::experimental::awaitable_operators;

namespace {

std::vector<std::unique_ptr<transfer>> transfers_of(
    const command_line& c, avirt::connection& host, avirt::connection& target_host)
{
    std::vector<std::unique_ptr<transfer>> result;
    if (c.command == command_line::verb::copy)
        result.push_back(std::make_unique<copy>(volume(host, c.from), volume(target_host, c.to)));
    for (const auto& [name, file] : c.items) {
        if (c.command == command_line::verb::download)
            result.push_back(std::make_unique<download>(volume(host, name), file));
        else
            result.push_back(std::make_unique<upload>(file, volume(host, name)));
    }
    return result;
}

asio::awaitable<void> connect(avirt::connection& host, const std::string& uri, display& view)
{
    avirt::error_details why;
    const auto [ec] =
        co_await host.async_open(uri, avirt::with_details(asio::as_tuple(asio::use_awaitable), why));
    if (!ec)
        co_return;
    if (ec != asio::error::operation_aborted)
        view.say(
            "No connection to " + uri + ": " + (why.message.empty() ? ec.message() : why.message)
            + ". Is it running, and is the URI right?");
    throw avirt::exception(ec, why);
}

/// Carries the command out, unless it is interrupted.
asio::awaitable<void> carry_out(
    const command_line& c, avirt::connection& host, avirt::connection& target_host, batch& all, display& view)
try {
    co_await connect(host, c.uri, view);
    if (c.command == command_line::verb::copy)
        co_await connect(target_host, c.target_uri, view);
    co_await all.run();
}
catch (const boost::system::system_error&) {
    // What has failed has been said. Asio's operator|| would wait for a signal after an exception.
}

asio::awaitable<exit_status> session(const command_line& c)
{
    const auto executor = co_await asio::this_coro::executor;
    avirt::connection host{executor};
    avirt::connection target_host{executor};
    auto transfers = transfers_of(c, host, target_host);
    const std::filesystem::path target = transfers.front()->target();
    display view(target.filename().string(), transfers.size());
    batch all(c, std::move(transfers), view);
    asio::signal_set signals(executor, SIGINT, SIGTERM);

    const auto first =
        co_await (carry_out(c, host, target_host, all, view) || signals.async_wait(asio::use_awaitable));
    const bool is_interrupted = first.index() == 1;
    if (is_interrupted)
        all.say_interrupted();
    co_return is_interrupted ? interrupted : all.has_succeeded() ? succeeded : failed;
}

int run(const command_line& c)
{
    asio::io_context io;
    avirt::event_loop loop{io};
    auto result = failed;
    asio::co_spawn(io, session(c), [&](std::exception_ptr failure, exit_status status) {
        if (failure)
            std::rethrow_exception(failure);
        result = status;
    });
    io.run(); // Returns when libvirt has released everything.
    return std::cout ? result : failed;
}

} // namespace

int main(int argc, char* argv[])
{
    command_line c;
    try {
        c = parse(argc, argv);
    }
    catch (const std::exception& e) {
        std::cerr << "volume_transfer: " << e.what() << "; --help shows the usage.\n";
        return bad_usage;
    }
    if (c.command == command_line::verb::help)
        return std::cout << help() << std::flush ? succeeded : failed;
    try {
        return run(c);
    }
    catch (const std::exception& e) {
        std::cerr << "volume_transfer: " << e.what() << '\n';
        return failed;
    }
}
