// SPDX-License-Identifier: BSL-1.0
#include "support/translation.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace {

std::atomic<int> count{0};

char upper(char c)
{
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Translates everything but the conversions of printf.
std::string translate(std::string_view text)
{
    constexpr std::string_view conversions = "diouxXeEfFgGaAcspnm%";
    std::string result;
    bool is_in_conversion = false;
    for (const char c : text) {
        result += is_in_conversion ? c : upper(c);
        is_in_conversion = is_in_conversion ? conversions.find(c) == std::string_view::npos : c == '%';
    }
    return result;
}

} // namespace

int support::translations() noexcept
{
    return count;
}

// Replaces the C library's function, which libvirt calls for each message: a program's own definition comes
// first.
extern "C" char* dcgettext(const char*, const char* text, int)
{
    // Never destroyed: libvirt keeps the pointers, and uses them while the process ends.
    static auto& translated = *new std::map<std::string, std::string, std::less<>>;
    static auto& mutex = *new std::mutex;
    ++count;
    const std::lock_guard guard(mutex);
    auto found = translated.find(text);
    if (found == translated.end())
        found = translated.emplace(text, translate(text)).first;
    return found->second.data();
}
