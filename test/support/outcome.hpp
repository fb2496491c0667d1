// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/system/error_code.hpp>

#include <cstddef>
#include <memory>

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
        return [s = state_](boost::system::error_code e, auto... n) {
            ++s->calls;
            s->ec = e;
            s->bytes = (std::size_t{0} + ... + static_cast<std::size_t>(n));
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
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

} // namespace support
