// SPDX-License-Identifier: BSL-1.0
#include "asciicast.hpp"

#include <array>
#include <cstdio>
#include <utility>

namespace {

/// A string of JSON. The text is UTF-8.
std::string json_string(std::string_view text)
{
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            result.append({'\\', c});
        else if (c == '\n')
            result += "\\n";
        else if (c == '\r')
            result += "\\r";
        else if (static_cast<unsigned char>(c) < 0x20) {
            std::array<char, 8> escape{};
            std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
            result += escape.data();
        }
        else
            result += c;
    }
    return result + '"';
}

/// Makes valid UTF-8 of a text that is complete.
std::string as_utf8(std::string_view bytes)
{
    utf8_text text;
    auto result = text.add(bytes);
    return result += text.finish();
}

/// For instance "12.345678".
std::string in_seconds(std::chrono::steady_clock::duration time)
{
    const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    std::array<char, 40> text{};
    std::snprintf(
        text.data(), text.size(), "%lld.%06lld", static_cast<long long>(microseconds / 1'000'000),
        static_cast<long long>(microseconds % 1'000'000));
    return text.data();
}

} // namespace

asciicast::asciicast(std::string title) : title_(std::move(title)) {}

void asciicast::output(log_file& file, std::string_view& bytes, moment now)
{
    const auto text = text_.add(bytes);
    if (!text.empty())
        write_event(file, 'o', text, now);
    bytes = {};
}

void asciicast::mark(log_file& file, std::string_view text, moment now)
{
    // A character does not go on behind a mark.
    if (const auto rest = text_.finish(); !rest.empty())
        write_event(file, 'o', rest, now);
    write_event(file, 'm', as_utf8(text), now);
}

void asciicast::write_event(log_file& file, char code, std::string_view text, moment now)
{
    const auto end = std::string(", \"") + code + "\", " + json_string(text) + "]\n";
    constexpr std::size_t longest_time = 24;
    if (file.make_room(longest_time + end.size())) {
        begin_ = now.time;
        file.write(header(now));
    }
    file.write('[' + in_seconds(now.time - begin_) + end);
}

std::string asciicast::header(moment now) const
{
    // A serial line does not tell the size of its terminal.
    return R"({"version": 2, "width": 80, "height": 24, "timestamp": )"
        + std::to_string(std::chrono::system_clock::to_time_t(now.date)) + R"(, "title": )"
        + json_string(as_utf8(title_)) + "}\n";
}
