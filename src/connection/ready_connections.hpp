// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/connection_socket.hpp"
#include "loop/deadline.hpp"

#include <libvirt/libvirt.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <utility>

namespace avirt::detail {

/// Connections that were opened for calls of their own and wait for the next such call: over SSH, opening one
/// starts a process on either side. A few are kept, for some seconds each. Guarded by the lock of the
/// connection that they belong to.
class ready_connections
{
public:
    struct connection
    {
        virConnectPtr native = nullptr;
        std::shared_ptr<connection_socket> socket{};
    };

    ready_connections() = default;
    ~ready_connections();
    ready_connections(const ready_connections&) = delete;
    ready_connections& operator=(const ready_connections&) = delete;

    /// Returns the connection that was used last, or none.
    connection take() noexcept;

    /// Keeps a connection that no other call uses. Returns false if the caller is to close it: it is lost, or
    /// there are enough.
    ///
    /// @param on_idle is called on the loop, without the lock, when the connection has not been used for some
    /// seconds. It passes its argument to close().
    bool keep(const connection& c, std::function<void(std::uint64_t)> on_idle) noexcept;

    void close(std::uint64_t number) noexcept;
    /// Closes those that libvirt has given up.
    void close_lost() noexcept;
    void close_all() noexcept;

private:
    static constexpr std::chrono::seconds longest_idle_time{10};

    struct entry
    {
        entry(std::uint64_t n, connection c, std::function<void()> on_idle)
            : number(n),
              kept(std::move(c)),
              time_to_use(longest_idle_time, std::move(on_idle))
        {
        }

        const std::uint64_t number;
        connection kept;
        deadline time_to_use;
    };

    std::list<entry> entries_; // the one that was used last comes last
    std::uint64_t last_number_ = 0;
};

} // namespace avirt::detail
