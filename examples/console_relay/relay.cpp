// SPDX-License-Identifier: BSL-1.0
#include "relay.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <variant>

using namespace asio::experimental::awaitable_operators;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t max_typed = 64 * 1024;
constexpr std::size_t max_missed = 4 * 1024;

constexpr auto nothrow = asio::as_tuple(asio::use_awaitable);

} // namespace

/// While it exists, nothing else is written to a sink, and nothing is read from the guest.
class relay::write_turn
{
public:
    explicit write_turn(relay& r) : relay_(r)
    {
        relay_.is_writing_ = true;
    }

    ~write_turn()
    {
        relay_.is_writing_ = false;
        relay_.on_written_.cancel();
    }

    write_turn(const write_turn&) = delete;
    write_turn& operator=(const write_turn&) = delete;

private:
    relay& relay_;
};

std::string said(const avirt::exception& e)
{
    return e.details().message.empty() ? e.code().message() : e.details().message;
}

relay::relay(asio::any_io_executor executor)
    : stream_(executor),
      on_turn_(executor),
      on_sent_(executor, steady_clock::time_point::max()),
      on_written_(executor, steady_clock::time_point::max())
{
}

asio::awaitable<void> relay::open(avirt::connection& connection, avirt::console console)
{
    domain_ = console.domain;
    const auto quoted = "'" + domain_ + "'";
    try {
        co_await stream_.async_open(connection, console, avirt::with_details(asio::use_awaitable));
    }
    catch (const avirt::exception& e) {
        const auto why = said(e);
        if (e.code() == avirt::condition::console_in_use)
            throw ending(failed, "Another session has the console of " + quoted + "; --force takes it over.");
        if (e.code() == avirt::condition::guest_gone)
            throw ending(failed, "The domain " + quoted + " is not running; start it first.");
        if (e.details().code == VIR_ERR_NO_DOMAIN)
            throw ending(failed, "There is no domain " + quoted + "; --list shows which there are.");
        if (e.code() == avirt::condition::not_found)
            throw ending(
                failed,
                "The domain " + quoted + " has no such console (" + why + "); --list shows its consoles.");
        if (e.details().code == VIR_ERR_NO_SUPPORT)
            throw ending(failed, "This hypervisor cannot open consoles: " + why + ".");
        if (e.code() == avirt::condition::not_supported)
            throw ending(
                failed, "The console of " + quoted + " is of a kind that cannot be opened: " + why + ".");
        if (e.code() == avirt::condition::denied)
            throw ending(
                failed, "You may not open the console of " + quoted + " (" + why + "); try as another user.");
        throw ending(failed, "The console of " + quoted + " cannot be opened: " + why + ".");
    }
    last_activity_ = steady_clock::now();
}

asio::awaitable<ending> relay::run()
{
    auto over = co_await (caught(from_guest()) || caught(to_guest()));
    co_return std::visit([](ending& e) { return std::move(e); }, over);
}

asio::awaitable<ending> relay::from_guest()
{
    std::array<char, 4096> buffer;
    for (;;) {
        std::size_t n = 0;
        try {
            n = co_await stream_.async_read_some(
                asio::buffer(buffer), avirt::with_details(asio::use_awaitable));
        }
        catch (const avirt::exception& e) {
            co_return console_failed(e);
        }
        last_activity_ = steady_clock::now();
        pace_.heard();
        on_turn_.cancel();
        const std::string_view output(buffer.data(), n);
        co_await forward(output);
    }
}

asio::awaitable<void> relay::forward(std::string_view output)
{
    co_await turn_to_write();
    const write_turn turn(*this);
    bool is_taken = false;
    if (const auto to = sink_)
        is_taken = co_await to->write(output);
    last_activity_ = steady_clock::now();
    if (is_taken && !remembers_)
        co_return;
    missed_ += output;
    missed_.erase(0, missed_.size() - std::min(missed_.size(), max_missed));
}

asio::awaitable<void> relay::turn_to_write()
{
    while (is_writing_)
        co_await on_written_.async_wait(nothrow);
}

asio::awaitable<ending> relay::to_guest()
{
    for (;;) {
        co_await turn_to_send();
        const auto sending = std::exchange(typed_, {});
        pace_.sent(sending.size(), steady_clock::now());
        is_sending_ = true;
        on_sent_.cancel();
        try {
            co_await asio::async_write(
                stream_, asio::buffer(sending), avirt::with_details(asio::use_awaitable));
        }
        catch (const avirt::exception& e) {
            co_return console_failed(e);
        }
        is_sending_ = false;
        on_sent_.cancel();
        last_activity_ = steady_clock::now();
    }
}

asio::awaitable<void> relay::turn_to_send()
{
    for (;;) {
        auto turn = typed_.empty() ? steady_clock::time_point::max() : pace_.next();
        if (!typed_.empty() && takes_risks_)
            turn = std::min(turn, pace_.stalls_at());
        if (turn <= steady_clock::now())
            co_return;
        on_turn_.expires_at(turn);
        co_await on_turn_.async_wait(nothrow);
    }
}

ending relay::console_failed(const avirt::exception& why) const
{
    const auto of_guest = "the console of '" + domain_ + "'";
    if (why.code() == avirt::condition::console_taken_over)
        return {console_ended, "Another session took over " + of_guest + "; --force takes it back."};
    if (why.code() == asio::error::eof || why.code() == asio::error::broken_pipe
        || why.code() == avirt::condition::guest_gone)
        return {
            console_ended,
            "The guest was shut down: " + of_guest + " has ended. Start it, then attach again."};
    if (why.code() == avirt::condition::connection_lost && pace_.is_overdone())
        return {
            failed,
            "The connection to libvirt was lost, and with it " + of_guest
                + ": libvirt drops it when too much input waits for the guest. Attach again when the guest "
                  "reads."};
    if (why.code() == avirt::condition::connection_lost)
        return {failed, "The connection to libvirt was lost, and with it " + of_guest + "; attach again."};
    return {
        console_ended,
        "Lost " + of_guest + " (" + said(why) + "); if another session took it over, --force takes it back."};
}

asio::awaitable<void> relay::type(std::string_view input)
{
    while (stream_.is_open() && !keep(input))
        co_await on_sent_.async_wait(nothrow);
}

bool relay::try_type(std::string_view input)
{
    return !pace_.is_stalled(steady_clock::now()) && keep(input);
}

bool relay::keep(std::string_view input)
{
    if (typed_.size() >= max_typed)
        return false;
    typed_ += input;
    on_turn_.cancel();
    return true;
}

asio::awaitable<void> relay::sent()
{
    while (is_sending_ || !typed_.empty())
        co_await on_sent_.async_wait(nothrow);
}

asio::awaitable<void> relay::silence(steady_clock::duration time)
{
    const auto since = steady_clock::now();
    asio::steady_timer timer(stream_.get_executor());
    for (;;) {
        timer.expires_at((is_writing_ ? steady_clock::now() : std::max(since, last_activity_)) + time);
        if (timer.expiry() <= steady_clock::now())
            co_return;
        co_await timer.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> relay::attach(std::shared_ptr<sink> to)
{
    co_await turn_to_write();
    const write_turn turn(*this);
    if (auto missed = std::exchange(missed_, {}); !missed.empty()) {
        const bool is_taken = co_await to->write(missed);
        if (!is_taken) {
            missed_ = std::move(missed);
            co_return;
        }
    }
    remembers_ = false;
    sink_ = std::move(to);
}

void relay::detach()
{
    sink_.reset();
}

asio::awaitable<void> relay::close()
{
    detach();
    if (stream_.is_open()) {
        asio::steady_timer patience(stream_.get_executor(), std::chrono::seconds(1)); // The daemon may hang.
        co_await (stream_.async_abort(nothrow) || patience.async_wait(nothrow));
    }
    on_sent_.cancel();
}
