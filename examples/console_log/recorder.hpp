// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "command_line.hpp"
#include "recording.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>

namespace asio = boost::asio;

/// Records the guests of a host as they come and go.
class recorder
{
public:
    recorder(asio::io_context& io, const command_line& how);

    /// Follows the host until close() is called. Throws std::runtime_error if there is no such host.
    asio::awaitable<void> run();

    /// Ends everything: the recordings write what they have.
    void close();

private:
    using console_name = std::pair<std::string, std::string>; // guest and device

    void on(const avirt::host_connected& report);
    void on(const avirt::host_disconnected& report);
    void on(const avirt::domain_changed& report);
    void on_guest(const avirt::domain_status& guest, bool is_started);
    void begin(const console_name& which);
    asio::awaitable<void> begin_other_consoles(std::string guest);
    void say_which_guests_are_missing(const avirt::host_connected& report) const;
    bool is_asked_for(const avirt::domain_status& guest) const;
    std::string host_name() const;

    asio::io_context& io_;
    const command_line& how_;
    avirt::supervised_connection host_;
    std::map<console_name, std::shared_ptr<recording>> recordings_;
    enum class phase { begins, connected, away } phase_ = phase::begins;
    bool was_connected_ = false;
};
