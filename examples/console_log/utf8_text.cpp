// SPDX-License-Identifier: BSL-1.0
#include "utf8_text.hpp"

#include <algorithm>
#include <cstddef>

namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";

unsigned char byte(char c)
{
    return static_cast<unsigned char>(c);
}

/// The number of bytes of a character that begins with this one; 0: none does.
std::size_t length(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/// Whether a byte may follow the first one. The second byte decides whether the character is encoded in the
/// shortest form, exists, and is no surrogate.
bool may_follow(unsigned char first, unsigned char second)
{
    const auto least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const auto most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return least <= second && second <= most;
}

/// The number of bytes at the beginning of a text that can be those of one character.
std::size_t matching(std::string_view text)
{
    const auto first = byte(text[0]);
    const auto size = std::min(length(first), text.size());
    if (size < 2)
        return size;
    if (!may_follow(first, byte(text[1])))
        return 1;
    std::size_t n = 2;
    while (n < size && (byte(text[n]) & 0xc0) == 0x80)
        ++n;
    return n;
}

} // namespace

std::string utf8_text::add(std::string_view bytes)
{
    const auto all = incomplete_.append(bytes);
    incomplete_.clear();
    std::string result;
    for (std::string_view rest = all; !rest.empty();) {
        const auto n = matching(rest);
        if (n != 0 && n == length(byte(rest[0]))) {
            result += rest.substr(0, n);
        }
        else if (n == rest.size()) {
            incomplete_ = rest;
            break;
        }
        else {
            result += replacement;
        }
        rest.remove_prefix(std::max<std::size_t>(n, 1));
    }
    return result;
}

std::string utf8_text::finish()
{
    const bool is_complete = incomplete_.empty();
    incomplete_.clear();
    return std::string(is_complete ? "" : replacement);
}
