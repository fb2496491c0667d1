// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "command_line.hpp"
#include "log_file.hpp"
#include "log_format.hpp"

#include <avirt/avirt.hpp>
#include <boost/asio.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace asio = boost::asio;

/// Records a console to its file, whatever happens to the guest, to the daemon and to the disk.
class recording : public std::enable_shared_from_this<recording>
{
public:
    /// @param device The alias of the console; empty: the guest's first one.
    recording(
        avirt::supervised_connection& host, const command_line& how, std::string guest, std::string device);

    /// Returns when the guest has gone, or the host has been closed, and everything is written.
    asio::awaitable<void> run();

    /// The guest exists: it is to be recorded.
    void stay();

    /// The guest does not exist any more. What it has printed last may still be on its way.
    void leave();

    /// The program ends.
    void close();

private:
    asio::awaitable<void> record(avirt::console_view& view);
    void on_state(avirt::console_state state);
    void write(std::string_view bytes);
    void mark(const std::string& text);
    void on_failure(const std::string& why);
    void on_success();
    std::string title() const;

    avirt::supervised_connection& host_;
    const std::string guest_;
    const std::string device_;
    const std::unique_ptr<log_format> format_;
    log_file file_;
    std::optional<avirt::console_session> session_;
    bool is_wanted_ = true;
    bool has_left_ = false;  // the session has been closed because the guest has gone
    bool has_begun_ = false; // to write: an empty console leaves no file

    bool is_failing_ = false;
    std::uint64_t unwritten_ = 0; // bytes of output, since the file cannot be written
    std::uint64_t unmarked_ = 0;  // those of them that the log itself does not mention yet
};
