// SPDX-License-Identifier: BSL-1.0
#include "recording.hpp"

#include "file_name.hpp"
#include "say.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

using avirt::console_state;

namespace {

std::string in_bytes(std::uint64_t number)
{
    return std::to_string(number) + (number == 1 ? " byte" : " bytes");
}

/// libvirt's messages may have several lines.
std::string in_one_line(std::string text)
{
    std::ranges::replace_if(
        text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return text;
}

} // namespace

recording::recording(
    avirt::supervised_connection& host, const command_line& how, std::string guest, std::string device)
    : host_(host),
      guest_(std::move(guest)),
      device_(std::move(device)),
      format_(log_format::make(how.format, title())),
      file_(how.directory / file_name(guest_, device_), how.limits, format_->existing_file())
{
}

std::string recording::title() const
{
    return guest_ + (device_.empty() ? "" : " " + device_);
}

asio::awaitable<void> recording::run()
{
    do {
        has_left_ = false;
        session_.emplace(host_, avirt::console{guest_, device_});
        avirt::console_view view{*session_, {avirt::console_view_options::everything}};
        co_await record(view);
    } while (has_left_ && is_wanted_); // The guest may come back while the rest of its output is written.
    if (is_failing_)
        say(title() + ": '" + file_.path().string() + "' lacks " + in_bytes(unwritten_) + " of output.");
}

void recording::stay()
{
    is_wanted_ = true;
}

void recording::leave()
{
    is_wanted_ = false;
    if (!session_)
        return;
    session_->async_wait_for(console_state::off, [weak = weak_from_this()](avirt::error_code ec) {
        const auto self = weak.lock();
        if (!self || ec || self->is_wanted_)
            return;
        self->has_left_ = true;
        self->session_->close();
    });
}

void recording::close()
{
    is_wanted_ = false;
    if (session_)
        session_->close();
}

asio::awaitable<void> recording::record(avirt::console_view& view)
{
    std::array<char, 4096> memory;
    for (;;) {
        const auto [ec, n] =
            co_await view.async_read_some(asio::buffer(memory), asio::as_tuple(asio::use_awaitable));
        if (n != 0)
            write({memory.data(), n});
        if (ec == avirt::error::console_state_changed) {
            on_state(view.state());
        }
        else if (ec == avirt::error::output_lost) {
            const auto text =
                "lost " + in_bytes(view.lost()) + " of output, because this program was too slow";
            mark(text);
            say(title() + ": " + text + '.');
        }
        else if (ec) {
            co_return on_state(view.state());
        }
    }
}

void recording::on_state(console_state state)
{
    // A guest that does not run and a host that is away are no reason to begin a file, or to rotate one.
    has_begun_ |= state != console_state::off && state != console_state::host_away
        && state != console_state::opening && state != console_state::closed;
    if (!has_begun_)
        return;
    auto text = "console: " + std::string(avirt::to_string(state));
    if (const auto why = session_->reason().message; !why.empty() && session_->state() == state)
        text += " (" + in_one_line(why) + ')';
    mark(text);
}

void recording::write(std::string_view bytes)
{
    const moment now;
    try {
        if (unmarked_ != 0)
            format_->mark(file_, "could not write " + in_bytes(unmarked_) + " of output", now);
        unmarked_ = 0;
        format_->output(file_, bytes, now);
        on_success();
    }
    catch (const std::system_error& e) {
        unwritten_ += bytes.size();
        unmarked_ += bytes.size();
        on_failure(e.what());
    }
}

void recording::mark(const std::string& text)
{
    try {
        format_->mark(file_, text, {});
    }
    catch (const std::system_error& e) {
        on_failure(e.what());
    }
}

void recording::on_failure(const std::string& why)
{
    if (!std::exchange(is_failing_, true))
        say(title() + ": '" + file_.path().string() + "' " + why
            + ". It is tried again whenever the guest prints something; what cannot be written is lost.");
}

void recording::on_success()
{
    if (!std::exchange(is_failing_, false))
        return;
    say(title() + ": '" + file_.path().string() + "' is written again; it lacks " + in_bytes(unwritten_)
        + " of output.");
    unwritten_ = 0;
}
