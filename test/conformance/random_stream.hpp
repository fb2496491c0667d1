// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace conformance {

/// Random numbers (SplitMix64). Neighbouring seeds give unrelated streams, and a stream costs nothing to
/// make.
class random_stream
{
public:
    explicit random_stream(std::uint64_t seed) noexcept : state_{seed} {}

    std::uint64_t next() noexcept
    {
        auto mixed = state_ += 0x9e3779b97f4a7c15u;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        return mixed ^ (mixed >> 31);
    }
    int below(int limit) noexcept
    {
        return static_cast<int>(next() % static_cast<unsigned>(limit));
    }
    bool one_in(int count) noexcept
    {
        return below(count) == 0;
    }
    template <class T, std::size_t count>
    T one_of(const T (&choices)[count]) noexcept
    {
        return choices[next() % count];
    }

    /// Returns an independent stream: drawing numbers from it does not affect this one.
    random_stream branch() noexcept
    {
        return random_stream{next()};
    }

private:
    std::uint64_t state_;
};

} // namespace conformance
