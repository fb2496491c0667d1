// SPDX-License-Identifier: BSL-1.0
#include "display.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include <sys/ioctl.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

constexpr auto bar_interval = 100ms;
constexpr auto line_interval = 5s;
constexpr auto window = 5s; // The rate is that of the last seconds.

constexpr auto hide_cursor = "\x1b[?25l";
constexpr auto show_cursor = "\x1b[?25h";
constexpr auto erase_line = "\r\x1b[K";

std::size_t width_of_terminal()
{
    winsize size{};
    const bool is_known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return is_known ? size.ws_col : 80;
}

/// A time such as "0:42" or "1:02:03".
std::string in_time(std::uint64_t seconds)
{
    std::array<char, 40> text{};
    const auto hours = static_cast<unsigned long>(seconds / 3600);
    const auto minutes = static_cast<unsigned>(seconds / 60 % 60);
    const auto rest = static_cast<unsigned>(seconds % 60);
    if (hours > 0)
        std::snprintf(text.data(), text.size(), "%lu:%02u:%02u", hours, minutes, rest);
    else
        std::snprintf(text.data(), text.size(), "%u:%02u", minutes, rest);
    return text.data();
}

std::string bar(double part, std::size_t width)
{
    const auto done = static_cast<std::size_t>(part * static_cast<double>(width));
    return '[' + std::string(done, '#') + std::string(width - done, '.') + ']';
}

} // namespace

std::string in_bytes(std::uint64_t number)
{
    constexpr std::array units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    auto value = static_cast<double>(number);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.*f %s", unit > 0 && value < 100 ? 1 : 0, value, units[unit]);
    return text.data();
}

display::display(std::string name, std::size_t transfers)
    : name_(std::move(name)),
      is_terminal_(::isatty(STDERR_FILENO) == 1),
      transfers_(transfers),
      next_(clock::now() + (is_terminal_ ? bar_interval : clock::duration(line_interval)))
{
}

display::~display()
{
    erase();
}

void display::expect(std::size_t transfer, std::uint64_t total)
{
    transfers_[transfer].total = total;
}

void display::update(std::size_t transfer, const avirt::progress& p)
{
    auto& t = transfers_[transfer];
    t.position = p.bytes + p.hole_bytes;
    t.bytes = p.bytes;
    if (p.total > 0)
        t.total = p.total;
    if (!std::exchange(t.has_begun, true))
        t.found = t.position;
    show(clock::now());
}

void display::end(std::size_t transfer)
{
    transfers_[transfer].total = transfers_[transfer].position;
    ++ended_;
}

void display::show(clock::time_point now)
{
    sample latest{now};
    for (const auto& t : transfers_) {
        latest.position += t.position - std::min(t.position, t.found);
        latest.bytes += t.bytes;
    }
    samples_.push_back(latest);
    while (samples_[0].time < now - window)
        samples_.pop_front();
    if (now < next_)
        return;
    if (is_terminal_) {
        next_ = now + bar_interval;
        draw();
    }
    else {
        next_ = now + line_interval;
        say(label() + ": " + numbers());
    }
}

void display::draw()
{
    const auto width = width_of_terminal() - 1; // A character in the last column could wrap the line.
    auto line = label();
    line.resize(std::min(line.size(), width / 3));
    line += ' ' + numbers();
    constexpr std::size_t shortest_bar = 10;
    if (line.size() + shortest_bar + 3 <= width)
        line += ' ' + bar(part_done(), std::min<std::size_t>(50, width - line.size() - 3));
    line.resize(std::min(line.size(), width));
    std::cerr << (std::exchange(is_drawn_, true) ? "" : hide_cursor) << erase_line << line << std::flush;
}

void display::erase()
{
    if (std::exchange(is_drawn_, false))
        std::cerr << erase_line << show_cursor << std::flush;
}

void display::say(const std::string& line, std::ostream& out)
{
    erase();
    out << line << std::endl;
}

std::string display::label() const
{
    if (transfers_.size() == 1)
        return name_;
    return std::to_string(ended_) + " of " + std::to_string(transfers_.size()) + " done";
}

double display::part_done() const
{
    double position = 0;
    double total = 0;
    for (const auto& t : transfers_) {
        position += static_cast<double>(t.position);
        total += static_cast<double>(std::max(t.total, t.position));
    }
    return total > 0 ? position / total : 0;
}

/// For instance "45% of 10.0 GiB, 210 MiB/s, 0:42 left".
std::string display::numbers() const
{
    std::uint64_t position = 0;
    std::uint64_t total = 0;
    for (const auto& t : transfers_) {
        position += t.position;
        total += std::max(t.total, t.position);
    }
    auto text = std::to_string(static_cast<int>(part_done() * 100)) + "% of " + in_bytes(total);
    const auto& first = samples_.front();
    const auto& last = samples_.back();
    const auto time = std::chrono::duration<double>(last.time - first.time).count();
    if (time <= 0)
        return text;
    const auto rate = static_cast<double>(last.bytes - std::min(first.bytes, last.bytes)) / time;
    text += ", " + in_bytes(static_cast<std::uint64_t>(rate)) + "/s";
    // Holes count, although they take hardly any time: where the next ones are is not known.
    const auto speed = static_cast<double>(last.position - std::min(first.position, last.position)) / time;
    if (speed > 0)
        text += ", " + in_time(static_cast<std::uint64_t>(static_cast<double>(total - position) / speed))
            + " left";
    return text;
}
