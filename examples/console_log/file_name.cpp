// SPDX-License-Identifier: BSL-1.0
#include "file_name.hpp"

#include <string_view>

namespace {

/// Encodes what a file's name cannot contain, what would hide the file, and the separators that the names
/// here have. Bytes of UTF-8 stay what they are.
std::string encoded(std::string_view text)
{
    constexpr std::string_view special = "/%@";
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool is_control = byte < 0x20 || byte == 0x7f;
        const bool hides = c == '.' && result.empty();
        if (is_control || hides || special.find(c) != special.npos)
            result.append({'%', digits[byte >> 4], digits[byte & 15]});
        else
            result += c;
    }
    return result;
}

} // namespace

std::string file_name(const std::string& guest, const std::string& device)
{
    return encoded(guest) + (device.empty() ? "" : "@" + encoded(device)) + ".log";
}
