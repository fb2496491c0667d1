// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_session.hpp>
#include <avirt/console_view.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include <support/printing.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

/// Reads a console session through a view, as long as it exists.
class console_viewer
{
    struct state
    {
        explicit state(avirt::console_session& session, std::uint64_t from) : view(session, {from}) {}

        avirt::console_view view;
        std::array<char, 1000> memory{};
        std::string text{};
        std::uint64_t first = 0;
        std::uint64_t lost = 0;
        std::vector<avirt::console_state> states{};
        std::vector<std::uint64_t> places{};
        avirt::error_code end{};
    };

public:
    explicit console_viewer(
        avirt::console_session& session, std::uint64_t from = avirt::console_view_options::live)
        : state_(std::make_shared<state>(session, from))
    {
        state_->first = state_->view.offset();
        read(state_);
    }

    ~console_viewer()
    {
        state_->view.cancel();
    }

    console_viewer(const console_viewer&) = delete;
    console_viewer& operator=(const console_viewer&) = delete;

    /// What has been read.
    const std::string& text() const noexcept
    {
        return state_->text;
    }

    bool has(const std::string& text) const
    {
        return state_->text.find(text) != std::string::npos;
    }

    /// The offset of the first byte.
    std::uint64_t first() const noexcept
    {
        return state_->first;
    }

    std::uint64_t offset() const noexcept
    {
        return state_->view.offset();
    }

    std::uint64_t lost() const noexcept
    {
        return state_->lost;
    }

    /// The states that it came to, in order.
    const std::vector<avirt::console_state>& states() const noexcept
    {
        return state_->states;
    }

    bool has_seen(avirt::console_state s) const
    {
        return std::ranges::find(state_->states, s) != state_->states.end();
    }

    /// Their places in the output.
    const std::vector<std::uint64_t>& places() const noexcept
    {
        return state_->places;
    }

    /// Why reading has ended.
    avirt::error_code end() const noexcept
    {
        return state_->end;
    }

    void forget()
    {
        state_->text.clear();
        state_->states.clear();
    }

private:
    static void read(const std::shared_ptr<state>& s)
    {
        s->view.async_read_some(
            boost::asio::buffer(s->memory), [s](const avirt::error_code& ec, std::size_t n) {
                s->text.append(s->memory.data(), n);
                if (ec == avirt::error::console_state_changed) {
                    s->states.push_back(s->view.state());
                    s->places.push_back(s->view.offset());
                }
                else if (ec == avirt::error::output_lost)
                    s->lost += s->view.lost();
                else if (ec)
                    return void(s->end = ec);
                read(s);
            });
    }

    std::shared_ptr<state> state_;
};
