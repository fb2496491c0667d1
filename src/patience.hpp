// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection_link.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

namespace avirt::detail {

/// A connection is in use while one of these lives: it is open, it has a stream, or an operation waits for
/// its end. What is still under way on a connection that is not in use has a second; then the connection is
/// interrupted, so that a daemon that does not answer keeps nothing alive. May be ended from any thread.
class link_use
{
public:
    link_use() = default;
    explicit link_use(std::shared_ptr<connection_link> link) noexcept;
    link_use(link_use&& other) noexcept;
    link_use& operator=(link_use&& other) noexcept;
    ~link_use();

    void end() noexcept;

private:
    std::shared_ptr<connection_link> link_;
    std::atomic<bool> is_on_{false};
};

/// While it lives, this thread may wait for the daemon of that connection.
class link_work
{
public:
    /// @param link may be null.
    explicit link_work(std::shared_ptr<connection_link> link) noexcept;
    ~link_work();
    link_work(const link_work&) = delete;
    link_work& operator=(const link_work&) = delete;

    /// Whether this thread has one.
    static bool is_here() noexcept;

private:
    const std::shared_ptr<connection_link> link_;
};

/// While it lives, this thread drops references, of which one may be the last to a connection: libvirt then
/// tells the daemon, and waits for the answer. Each drops what belongs to one connection.
class closing_scope : public search_scope
{
public:
    /// @param link becomes known as the connection's; may be null.
    explicit closing_scope(std::shared_ptr<connection_link> link = nullptr) noexcept;
    ~closing_scope() override;

protected:
    void on_found() noexcept override;

private:
    bool is_last_ = false;
};

/// Calls a function on the loop when the time is over, unless it is destroyed first; the call may then be
/// under way.
class deadline
{
public:
    /// @param after zero: never.
    deadline(std::chrono::milliseconds after, std::function<void()> function);
    ~deadline();
    deadline(const deadline&) = delete;
    deadline& operator=(const deadline&) = delete;

private:
    int timer_ = -1;
};

} // namespace avirt::detail
