// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "support/temporary_directory.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace support {

/// Forwards the traffic between clients and a libvirtd packet by packet, and does to each packet what a
/// script says.
class packet_proxy
{
public:
    struct packet
    {
        enum class kind : std::uint32_t { call = 0, reply = 1, event = 2, stream = 3 };
        enum class state : std::uint32_t { ok = 0, error = 1, more = 2 };

        bool from_client;
        kind type;
        state status;
        std::string_view payload;

        bool is_stream_data() const noexcept
        {
            return type == kind::stream && status == state::more && !payload.empty();
        }

        /// A finish or its answer, or a packet that says that no more data comes.
        bool is_stream_end() const noexcept
        {
            return type == kind::stream && !is_stream_data();
        }
    };

    enum class verdict {
        pass,
        fragment, // pass in many pieces
        hold,     // drop it and everything behind it
        cut,      // close both sides instead
        cut_within
    };

    /// Called for one packet at a time, on one of the proxy's threads.
    using script = std::function<verdict(const packet&)>;

    packet_proxy(std::filesystem::path daemon, script s);
    ~packet_proxy();
    packet_proxy(const packet_proxy&) = delete;
    packet_proxy& operator=(const packet_proxy&) = delete;

    std::string uri() const;

    /// The number of clients that have connected so far.
    std::size_t accepted() const noexcept
    {
        return accepted_;
    }

    /// Closes both sides of the latest client's connection.
    void cut_latest();
    /// Closes both sides of all connections.
    void cut_all();

private:
    struct link
    {
        int client;
        int daemon;
        std::thread up{};
        std::thread down{};
    };

    void accept_clients();
    void forward(link& l, bool from_client);

    const std::filesystem::path daemon_;
    const script script_;
    const temporary_directory directory_{"/tmp/avirt-proxy-"};
    int listener_ = -1;
    std::mutex mutex_;
    std::atomic<std::size_t> accepted_{0};
    std::list<link> links_;
    std::thread acceptor_;
};

} // namespace support
