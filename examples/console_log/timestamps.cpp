// SPDX-License-Identifier: BSL-1.0
#include "timestamps.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace {

/// For instance "2026-01-31T12:00:00.000Z".
std::string in_utc(std::chrono::system_clock::time_point date)
{
    using namespace std::chrono;
    const auto second = floor<seconds>(date);
    const auto milliseconds = floor<std::chrono::milliseconds>(date - second).count();
    const auto number = system_clock::to_time_t(second);
    std::tm fields{};
    ::gmtime_r(&number, &fields);
    std::array<char, 40> text{};
    const auto size = std::strftime(text.data(), text.size(), "%FT%T", &fields);
    std::snprintf(text.data() + size, text.size() - size, ".%03dZ", static_cast<int>(milliseconds));
    return text.data();
}

} // namespace

void timestamps::output(log_file& file, std::string_view& bytes, moment now)
{
    const auto prefix = in_utc(now.date) + " | ";
    while (!bytes.empty()) {
        const auto line = bytes.substr(0, bytes.find('\n') + 1); // everything if there is no '\n'
        const auto piece = line.empty() ? bytes : line;
        file.make_room(prefix.size() + piece.size());
        std::string record = file.is_at_line_start() ? prefix : "";
        file.write(record.append(piece));
        bytes.remove_prefix(piece.size());
    }
}

void timestamps::mark(log_file& file, std::string_view text, moment now)
{
    auto record = in_utc(now.date) + " * ";
    record.append(text) += '\n';
    file.make_room(1 + record.size());
    file.write(file.is_at_line_start() ? record : '\n' + record);
}
