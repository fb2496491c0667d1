// SPDX-License-Identifier: BSL-1.0
#include "host/host_consoles.hpp"

#include "core/context_objects.hpp"
#include "host/coroutines.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>
#include <variant>

namespace avirt::detail {
namespace {

/// Without the handle, which would keep the connection alive.
domain_status without_handle(const domain_status& d)
{
    domain_status result;
    result.name = d.name;
    result.uuid = d.uuid;
    result.state = d.state;
    result.reason = d.reason;
    return result;
}

} // namespace

host_consoles::host_consoles(const asio::any_io_executor& executor) : strand_(strand_of(executor)) {}

void host_consoles::add(
    const std::shared_ptr<domain_follower>& follower, std::shared_ptr<supervisor_impl> host)
{
    const std::lock_guard guard(mutex_);
    if (!strand_)
        return;
    asio::post(strand_, [self = shared_from_this(), weak = std::weak_ptr(follower)] {
        std::erase_if(self->followers_, [](const auto& f) { return f.expired(); });
        self->followers_.push_back(weak);
        if (const auto added = weak.lock())
            self->tell_present(*added);
    });
    if (std::exchange(is_started_, true))
        return;
    // Posted, because the coroutine must not begin under the lock.
    asio::post(strand_, [self = shared_from_this(), strand = strand_, host = std::move(host)] {
        asio::co_spawn(strand, follow(self, host), [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
    });
}

void host_consoles::shutdown() noexcept
{
    const std::lock_guard guard(mutex_);
    strand_ = {};
}

asio::awaitable<void> host_consoles::follow(
    std::shared_ptr<host_consoles> self, std::shared_ptr<supervisor_impl> host)
{
    const auto feed = std::make_shared<host_feed_impl>(std::move(host), 1024);
    for (;;) {
        const auto next = co_await receive(feed);
        if (!next.error)
            self->on_report(next.value);
        else if (next.error.code != error::events_lost) // Otherwise host_connected follows.
            co_return self->on_end(next.error);
    }
}

void host_consoles::on_report(const host_report& report)
{
    if (const auto* changed = std::get_if<domain_changed>(&report)) {
        const auto& status = changed->status;
        if (changed->is_gone)
            domains_.erase(status.uuid);
        else
            domains_.insert_or_assign(status.uuid, without_handle(status));
        tell_all([&](domain_follower& f) {
            if (f.follows(status))
                f.on_domain(changed->is_gone ? nullptr : &status, changed->event);
        });
        return;
    }
    domains_.clear();
    if (const auto* connected = std::get_if<host_connected>(&report)) {
        phase_ = phase::connected;
        for (const auto& d : connected->domains)
            domains_.insert_or_assign(d.uuid, without_handle(d));
    }
    else if (const auto* disconnected = std::get_if<host_disconnected>(&report)) {
        phase_ = phase::away;
        why_ = failure(disconnected->error, disconnected->details);
    }
    tell_all([&](domain_follower& f) { tell_present(f); });
}

void host_consoles::on_end(const failure& why)
{
    phase_ = phase::closed;
    why_ = why;
    domains_.clear();
    tell_all([&](domain_follower& f) { tell_present(f); });
}

template <class Tell>
void host_consoles::tell_all(Tell tell)
{
    for (const auto& weak : followers_) {
        if (const auto follower = weak.lock())
            tell(*follower);
    }
}

void host_consoles::tell_present(domain_follower& follower) const
{
    switch (phase_) {
    case phase::unknown:
        return;
    case phase::away:
        return follower.on_host_away(why_);
    case phase::closed:
        return follower.on_host_closed(why_);
    case phase::connected:
        break;
    }
    const auto found =
        std::ranges::find_if(domains_, [&](const auto& d) { return follower.follows(d.second); });
    follower.on_domain(found == domains_.end() ? nullptr : &found->second, -1);
}

void host_consoles::open(std::weak_ptr<domain_follower> follower)
{
    {
        const std::lock_guard guard(mutex_);
        if (opening_ == max_opening)
            return waiting_.push_back(std::move(follower));
        ++opening_;
    }
    if (const auto next = follower.lock())
        next->on_turn_to_open();
    else
        opened();
}

bool host_consoles::withdraw(const domain_follower& follower)
{
    const std::lock_guard guard(mutex_);
    return std::erase_if(waiting_, [&](const auto& w) { return w.lock().get() == &follower; }) != 0;
}

void host_consoles::opened()
{
    std::shared_ptr<domain_follower> next;
    {
        const std::lock_guard guard(mutex_);
        while (!next && !waiting_.empty()) {
            next = waiting_.front().lock();
            waiting_.pop_front();
        }
        if (!next)
            --opening_;
    }
    if (next)
        next->on_turn_to_open();
}

} // namespace avirt::detail
