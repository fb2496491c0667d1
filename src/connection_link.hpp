// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <atomic>
#include <memory>
#include <string>

namespace avirt::detail {

/// What the event loop knows of the connection that a watch or timeout was registered for.
struct connection_link
{
    std::string uri;
    /// The connection's socket; -1 where the driver lives in this process.
    std::atomic<int> socket{-1};
};

/// While it lives, what this thread registers belongs to a connection. libvirt registers a connection's
/// socket on the thread that is inside virConnectOpen (docs/libvirt.md, "Who uses the loop").
class link_scope
{
public:
    explicit link_scope(std::shared_ptr<connection_link> link) noexcept;
    ~link_scope();
    link_scope(const link_scope&) = delete;
    link_scope& operator=(const link_scope&) = delete;

    /// The link of the innermost scope of this thread, or null.
    static const std::shared_ptr<connection_link>& current() noexcept;

private:
    std::shared_ptr<connection_link> outer_;
};

} // namespace avirt::detail
