// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace support {

/// The encoding of libvirt's messages (RFC 4506): numbers of four or eight bytes, the most significant byte
/// first, and texts with their length, padded to a multiple of four bytes.
struct encoded
{
    std::string bytes{};
};

template <std::integral T>
requires(sizeof(T) >= 4) void append(std::string& out, T number)
{
    for (std::size_t shift = 8 * sizeof(T); shift > 0; shift -= 8)
        out += static_cast<char>(number >> (shift - 8) & 0xff);
}

inline void append(std::string& out, double number)
{
    append(out, std::bit_cast<std::uint64_t>(number));
}

inline void append(std::string& out, std::string_view text)
{
    append(out, static_cast<std::uint32_t>(text.size()));
    out += text;
    out.append((4 - text.size() % 4) % 4, '\0');
}

inline void append(std::string& out, const char* text)
{
    append(out, std::string_view(text));
}

inline void append(std::string& out, const encoded& e)
{
    out += e.bytes;
}

inline void append(std::string& out, std::nullopt_t)
{
    append(out, 0u);
}

template <class T>
void append(std::string& out, const std::optional<T>& value)
{
    append(out, value ? 1u : 0u);
    if (value)
        append(out, *value);
}

template <class T>
void append(std::string& out, const std::vector<T>& list)
{
    append(out, static_cast<std::uint32_t>(list.size()));
    for (const auto& element : list)
        append(out, element);
}

/// Encodes the values one after the other: a structure.
template <class... Values>
encoded xdr(const Values&... values)
{
    encoded e;
    (append(e.bytes, values), ...);
    return e;
}

} // namespace support
