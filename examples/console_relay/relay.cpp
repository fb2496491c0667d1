// SPDX-License-Identifier: BSL-1.0
#include "relay.hpp"

#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

using avirt::console_state;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

constexpr auto nothrow = asio::as_tuple(asio::use_awaitable);

bool is_open(console_state s) noexcept
{
    return s == console_state::attached || s == console_state::paused || s == console_state::stalled;
}

/// libvirt's code; avirt's, which may say more, is not known.
avirt::error_code code_of(const avirt::error_details& d)
{
    if (d.code == VIR_ERR_SYSTEM_ERROR)
        return {d.int1, boost::system::system_category()};
    return {d.code, avirt::libvirt_category()};
}

std::string time_of_day()
{
    const auto now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    std::array<char, 16> text;
    return {text.data(), std::strftime(text.data(), text.size(), "%H:%M:%S", &local)};
}

} // namespace

std::string said(const avirt::exception& e)
{
    return e.details().message.empty() ? e.code().message() : e.details().message;
}

// ---- viewer

viewer::viewer(relay& console)
    : relay_(console),
      view_(console.session(), {.from = avirt::console_view_options::everything}),
      has_opened_(is_open(view_.state())),
      last_activity_(steady_clock::now())
{
    catch_up();
}

asio::awaitable<void> viewer::show(sink& to)
{
    std::array<char, 4096> buffer;
    while (!is_over()) {
        const auto messages = std::exchange(messages_, {});
        for (const auto& message : messages)
            co_await to.say(message);
        const auto before = view_.state();
        const auto [ec, n] = co_await view_.async_read_some(asio::buffer(buffer), nothrow);
        if (ec == asio::error::eof)
            co_return;
        is_writing_ = true;
        if (n != 0)
            co_await show_output(to, {buffer.data(), n});
        else if (ec == avirt::error::console_state_changed)
            co_await show_change(to, before);
        is_writing_ = false;
        last_activity_ = steady_clock::now();
        catch_up();
    }
}

asio::awaitable<void> viewer::show_output(sink& to, std::string_view output)
{
    relay_.unanswered_ = 0;
    // Told no earlier, because more would be lost meanwhile.
    if (const auto lost = view_.lost(); lost != 0)
        co_await to.say(std::to_string(lost) + " bytes lost");
    co_await to.write(output);
}

asio::awaitable<void> viewer::show_change(sink& to, console_state before)
{
    has_opened_ = has_opened_ || is_open(view_.state());
    auto what = relay_.news_for(*this, before, view_.state());
    if (is_live_ && !what.empty())
        what.insert(0, time_of_day() + ' ');
    if (!what.empty())
        co_await to.say(std::move(what));
}

bool viewer::is_over() const noexcept
{
    return !relay_.waits() && has_opened_ && !is_open(view_.state());
}

/// The time of what is kept is not known.
void viewer::catch_up() noexcept
{
    const auto& session = relay_.session();
    is_live_ = is_live_ || (view_.offset() == session.end_offset() && view_.state() == session.state());
}

void viewer::tell(std::string message)
{
    messages_.push_back(std::move(message));
    view_.cancel();
}

asio::awaitable<void> viewer::silence(steady_clock::duration time)
{
    const auto since = steady_clock::now();
    asio::steady_timer timer(view_.get_executor());
    for (;;) {
        timer.expires_at((is_writing_ ? steady_clock::now() : std::max(since, last_activity_)) + time);
        if (timer.expiry() <= steady_clock::now())
            co_return;
        co_await timer.async_wait(asio::use_awaitable);
    }
}

// ---- relay

// On demand, because such a session lets the guest take its input before it leaves the console.
relay::relay(avirt::supervised_connection& host, avirt::console which, bool waits)
    : host_(host),
      domain_(which.domain),
      device_(which.device),
      waits_(waits),
      session_(host, std::move(which), {.on_demand = true})
{
    front_.emplace(*this);
}

asio::awaitable<void> relay::open()
{
    using enum console_state;
    avirt::console_view changes{session_};
    for (auto state = session_.state(); !waits_ && !is_open(state); state = session_.state()) {
        if (state != host_away && state != opening) {
            const auto why = session_.reason();
            bool exists = true;
            // libvirt has no better code, neither for a missing device nor for one that is no terminal.
            if (why.code == VIR_ERR_INTERNAL_ERROR)
                exists = co_await has_device();
            throw not_opened(state, why, exists);
        }
        char unused = 0; // There is no output before the console is open.
        co_await changes.async_read_some(asio::buffer(&unused, 1), nothrow);
    }
}

asio::awaitable<ending> relay::show(sink& to)
{
    co_await front_->show(to);
    co_return ended(front_->state());
}

asio::awaitable<void> relay::type(std::string_view input)
{
    co_await asio::async_write(session_, asio::buffer(input.data(), input.size()), nothrow);
}

asio::awaitable<void> relay::type_all(std::string_view input)
{
    while (!input.empty()) {
        const auto [ec, n] =
            co_await session_.async_write_some(asio::buffer(input.data(), input.size()), nothrow);
        input.remove_prefix(n);
        unanswered_ += n;
        if (ec && (!waits_ || ec != avirt::error::not_attached))
            co_return;
        if (ec)
            co_await session_.async_wait_for(console_state::attached, nothrow);
    }
}

asio::awaitable<bool> relay::try_type(std::string_view input)
{
    const auto [ec, n] = co_await asio::async_write(
        session_, asio::buffer(input.data(), input.size()), avirt::cancel_after(20ms, nothrow));
    co_return !ec;
}

asio::awaitable<void> relay::leave()
{
    front_.reset();
    if (is_open(session_.state()))
        co_await session_.async_wait_for(console_state::off, avirt::cancel_after(1s, nothrow));
}

std::string relay::news_for(const viewer& who, console_state before, console_state now)
{
    const bool is_first = front_ && &who == &*front_;
    if (!waits_) {
        const bool is_stall = is_first && now == console_state::stalled;
        return is_stall && std::exchange(tells_stall_, false) ? news(before, now) : "";
    }
    auto text = news(before, now);
    const auto unknown = is_first && !is_open(now) ? session_.unknown_input() : 0;
    if (unknown != 0)
        text += "; " + std::to_string(unknown) + " bytes of input may not have reached the guest";
    return text;
}

std::string relay::news(console_state before, console_state now) const
{
    // The reason is that of the session's present state, which may be a later one.
    const auto reason = session_.state() == now ? session_.reason() : avirt::error_details();
    const auto because = reason.message.empty() ? "" : ": " + reason.message;
    switch (now) {
    case console_state::host_away:
        return "no connection to libvirt" + because;
    case console_state::off:
        return reason.code == VIR_ERR_NO_DOMAIN ? "there is no such guest" : "the guest is off";
    case console_state::opening:
        return is_open(before) ? "the console was lost" : "";
    case console_state::attached:
        if (is_open(before))
            return before == console_state::paused ? "the guest goes on" : "the guest takes input again";
        return "the console is open";
    case console_state::paused:
        return "the guest is paused";
    case console_state::stalled:
        return "the guest takes no input at present";
    case console_state::taken_over:
        return "another session has taken the console over";
    case console_state::unavailable:
        return reason.code == VIR_ERR_OPERATION_FAILED ? "another session has the console"
                                                       : "the console cannot be opened" + because;
    default:
        return "";
    }
}

asio::awaitable<bool> relay::has_device()
{
    const auto list = [domain = domain_](virConnectPtr c) {
        virDomainPtr found = virDomainLookupByName(c, domain.c_str());
        if (!found)
            found = virDomainLookupByUUIDString(c, domain.c_str());
        return avirt::consoles_of(avirt::domain{found});
    };
    const auto devices =
        co_await host_.connection().async_call(list, avirt::with_details(asio::use_awaitable));
    co_return std::ranges::any_of(devices, [this](const avirt::console_device& d) {
        return device_.empty() ? d.kind != "parallel" : d.alias == device_;
    });
}

ending relay::not_opened(console_state state, const avirt::error_details& why, bool exists) const
{
    const auto quoted = "'" + domain_ + "'";
    const auto code = code_of(why);
    const auto message = said({code, why});
    if (why.code == VIR_ERR_NO_DOMAIN)
        return {failed, "There is no domain " + quoted + "; --list shows which there are."};
    if (state == console_state::off)
        return {failed, "The domain " + quoted + " is not running; start it first."};
    if (why.code == VIR_ERR_OPERATION_FAILED)
        return {failed, "Another session has the console of " + quoted + "; --force takes it over."};
    if (!exists)
        return {
            failed,
            "The domain " + quoted + " has no such console (" + message + "); --list shows its consoles."};
    if (why.code == VIR_ERR_NO_SUPPORT)
        return {failed, "This hypervisor cannot open consoles: " + message + "."};
    if (why.code == VIR_ERR_INTERNAL_ERROR || code == avirt::condition::not_supported)
        return {failed, "The console of " + quoted + " is of a kind that cannot be opened: " + message + "."};
    if (code == avirt::condition::denied)
        return {
            failed, "You may not open the console of " + quoted + " (" + message + "); try as another user."};
    return {failed, "The console of " + quoted + " cannot be opened: " + message + "."};
}

ending relay::ended(console_state state) const
{
    const auto of_guest = "the console of '" + domain_ + "'";
    switch (state) {
    case console_state::taken_over:
        return {console_ended, "Another session took over " + of_guest + "; --force takes it back."};
    case console_state::off:
        return {
            console_ended,
            "The guest was shut down: " + of_guest + " has ended. Start it, then attach again."};
    case console_state::unavailable: {
        const auto why = session_.reason();
        return {
            console_ended,
            "Lost " + of_guest + " (" + said({code_of(why), why})
                + "); if another session took it over, --force takes it back."};
    }
    default:
        return {failed, "The connection to libvirt was lost, and with it " + of_guest + "; attach again."};
    }
}
