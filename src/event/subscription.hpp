// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/connection_reference.hpp"
#include "core/fork_gate.hpp"
#include "loop/connection_socket.hpp"

#include <avirt/detail/event_source_impl.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace avirt::detail {

class subscription;

/// Receives the events of a subscription. Called by libvirt's callbacks.
class event_receiver
{
public:
    virtual void on_event(const subscription& from, std::unique_ptr<erased_event> event) = 0;

protected:
    ~event_receiver() = default;
};

/// One registration with libvirt. It is made on a worker thread, by run(), and removed on one, even if the
/// event source and the connection have been destroyed meanwhile.
class subscription final : public call_base, public std::enable_shared_from_this<subscription>
{
public:
    subscription(event_kind kind, std::string object, std::weak_ptr<event_receiver> receiver)
        : kind_(kind),
          object_(std::move(object)),
          receiver_(std::move(receiver))
    {
    }

    std::shared_ptr<event_receiver> receiver() const noexcept
    {
        return receiver_.lock();
    }

    bool needs_watched_socket() const noexcept override
    {
        return true;
    }

    failure run(virConnectPtr connection) noexcept override;

    /// Removes the registration by a call on the connection, in the order of its calls. If run() has not made
    /// the registration yet, it removes it again, and the handler is not called.
    ///
    /// @param socket The connection's; may be null.
    /// @param handler is called when the registration has been removed.
    void end(connection_impl& connection, std::shared_ptr<connection_socket> socket, call_handler handler);

private:
    class removal;

    const event_kind kind_;
    const std::string object_;
    const std::weak_ptr<event_receiver> receiver_;
    fork_safe_mutex mutex_;
    bool has_ended_ = false;
    int id_ = -1;
    std::optional<connection_reference> connection_;
};

} // namespace avirt::detail
