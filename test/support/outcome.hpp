// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace support {

/// The arguments that a completion handler was called with. Copies share them, because the handler may
/// outlive a test that fails.
class outcome
{
    struct state
    {
        int calls = 0;
        boost::system::error_code ec{};
        std::size_t bytes = 0;
    };

public:
    /// Returns a completion handler that records its arguments here.
    auto handler() const
    {
        return [s = state_](boost::system::error_code e, const auto&... results) {
            ++s->calls;
            s->ec = e;
            s->bytes = (std::size_t{0} + ... + bytes_of(results));
        };
    }

    int calls() const noexcept
    {
        return state_->calls;
    }

    boost::system::error_code ec() const noexcept
    {
        return state_->ec;
    }

    std::size_t bytes() const noexcept
    {
        return state_->bytes;
    }

    explicit operator bool() const noexcept
    {
        return calls() > 0;
    }

private:
    /// A number itself, or the bytes of a transfer or of a picture; 0 for anything else.
    template <class Result>
    static std::size_t bytes_of(const Result& result)
    {
        if constexpr (std::is_arithmetic_v<Result>)
            return static_cast<std::size_t>(result);
        else if constexpr (requires { result.bytes.size(); })
            return result.bytes.size();
        else if constexpr (requires { result.bytes; })
            return static_cast<std::size_t>(result.bytes);
        else
            return 0;
    }

    std::shared_ptr<state> state_ = std::make_shared<state>();
};

} // namespace support
