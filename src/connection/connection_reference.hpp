// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/release_queue.hpp"
#include "loop/connection_use.hpp"

#include <libvirt/libvirt.h>

#include <memory>
#include <utility>

namespace avirt::detail {

/// A counted reference to a libvirt connection, for work on other threads: the application may close the
/// connection meanwhile. Copies share the reference.
class connection_reference
{
public:
    explicit connection_reference(virConnectPtr connection) : holder_(std::make_shared<holder>())
    {
        virConnectRef(connection);
        holder_->connection = connection;
    }

    /// Takes over a reference of the caller's.
    static connection_reference adopt(virConnectPtr connection)
    {
        connection_reference result;
        result.holder_->connection = connection;
        return result;
    }

    virConnectPtr get() const noexcept
    {
        return holder_->connection;
    }

    /// Drops the reference on this thread, which may block.
    void drop() noexcept
    {
        if (auto* connection = std::exchange(holder_->connection, nullptr))
            close_now(connection);
    }

private:
    connection_reference() : holder_(std::make_shared<holder>()) {}

    struct holder
    {
        virConnectPtr connection = nullptr;

        ~holder()
        {
            if (connection)
                close_later(connection);
        }
    };

    std::shared_ptr<holder> holder_;
};

} // namespace avirt::detail
