// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

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
    /// A completion handler for any signature. Tests share its type, because to compile an operation with one
    /// more type of handler takes as long as a whole test.
    class recorder
    {
    public:
        template <class... Results>
        void operator()(boost::system::error_code ec, const Results&... results) const
        {
            ++state_->calls;
            state_->ec = ec;
            state_->bytes = (std::size_t{0} + ... + bytes_of(results));
            if (then_)
                then_();
        }

    private:
        friend outcome;

        recorder(std::shared_ptr<state> s, std::function<void()> then)
            : state_(std::move(s)),
              then_(std::move(then))
        {
        }

        std::shared_ptr<state> state_;
        std::function<void()> then_;
    };

    /// Returns a completion handler that records its arguments here, and then calls the function, if any.
    recorder handler(std::function<void()> then = {}) const
    {
        return {state_, std::move(then)};
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
