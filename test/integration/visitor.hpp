// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "crowd_fixture.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

/// Opens a stream on something, uses it and ends it, or gives it up at a random moment. Whatever happens, the
/// results must be what they may be, and nothing may be left.
class visitor : public std::enable_shared_from_this<visitor>
{
public:
    /// @param gives_up whether it gives the stream up, in a random stage, after a random number of turns.
    visitor(crowd_fixture& host, bool gives_up);
    ~visitor();
    visitor(const visitor&) = delete;
    visitor& operator=(const visitor&) = delete;

    void start();

    /// Where it is, and what it does there.
    std::string describe() const;

private:
    using stage = crowd_fixture::stage;

    enum class aim { console, mortal_console, download, upload, short_upload, no_domain, no_volume };
    enum class ending { finish, abort, close, destruction };

    static constexpr std::chrono::microseconds never = std::chrono::hours(1);

    static aim choose_aim(crowd_fixture& host);
    static std::optional<std::chrono::microseconds> choose_limit(crowd_fixture& host);

    asio::awaitable<void> visit();
    asio::awaitable<error_code> open();
    template <class Opener>
    asio::awaitable<error_code> open(Opener opener);
    asio::awaitable<error_code> use();
    asio::awaitable<error_code> talk();
    asio::awaitable<error_code> see_guest_destroyed();
    asio::awaitable<error_code> read();
    asio::awaitable<error_code> write(std::size_t size);
    asio::awaitable<void> end();
    asio::awaitable<error_code> change_guest(int (*function)(virDomainPtr));

    template <class Initiation>
    auto run(Initiation initiation);
    bool is_gentle() const noexcept;
    bool may_go_on(error_code ec) const noexcept;
    void check(error_code ec, bool is_expected) const;
    void check_uploaded() const;

    void enter(stage s);
    void give_up_after(std::size_t turns);
    void give_up();

    crowd_fixture& host_;
    std::optional<avirt::async_stream> stream_; // until it is destroyed
    const aim aim_;
    const bool shares_connection_;
    const ending ending_;
    const std::optional<stage> gives_up_at_;
    const std::optional<std::chrono::microseconds> limit_; // of each operation
    const std::size_t appetite_;                           // after that many bytes it ends the stream
    const std::size_t upload_;                             // its index
    asio::cancellation_signal signal_;
    avirt::error_details details_{};
    stage stage_ = stage::opening;
    bool is_writing_ = false;
    std::optional<std::size_t> given_up_{}; // how
    bool has_left_ = false;
    bool is_guest_destroyed_ = false;
    std::size_t used_ = 0; // bytes that were read or written
    std::array<char, 64 * 1024> buffer_{};
};
