// SPDX-License-Identifier: BSL-1.0
#include "patience.hpp"

#include "event_registry.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace avirt::detail {
namespace {

thread_local unsigned works_here = 0;

} // namespace

link_use::link_use(std::shared_ptr<connection_link> link) noexcept : link_(std::move(link))
{
    if (!link_)
        return;
    is_on_ = true;
    event_registry::instance().begin_use(link_);
}

link_use::link_use(link_use&& other) noexcept
    : link_(std::move(other.link_)),
      is_on_(other.is_on_.exchange(false))
{
}

link_use& link_use::operator=(link_use&& other) noexcept
{
    end();
    link_ = std::move(other.link_);
    is_on_ = other.is_on_.exchange(false);
    return *this;
}

link_use::~link_use()
{
    end();
}

void link_use::end() noexcept
{
    if (is_on_.exchange(false))
        event_registry::instance().end_use(link_);
}

link_work::link_work(std::shared_ptr<connection_link> link) noexcept : link_(std::move(link))
{
    ++works_here;
    if (link_)
        event_registry::instance().begin_work(link_);
}

link_work::~link_work()
{
    --works_here;
    if (link_)
        event_registry::instance().end_work(link_);
}

bool link_work::is_here() noexcept
{
    return works_here != 0;
}

closing_scope::closing_scope(std::shared_ptr<connection_link> l) noexcept : search_scope(std::move(l)) {}

closing_scope::~closing_scope()
{
    if (is_last_)
        event_registry::instance().end_closing(found);
}

void closing_scope::on_found() noexcept
{
    is_last_ = true;
    event_registry::instance().begin_closing(found);
}

deadline::deadline(std::chrono::milliseconds after, std::function<void()> function)
{
    if (after <= std::chrono::milliseconds(0))
        return;
    constexpr std::chrono::milliseconds::rep longest = std::numeric_limits<int>::max();
    auto argument = std::make_unique<std::function<void()>>(std::move(function));
    timer_ = event_registry::instance().add_own_timeout(
        static_cast<int>(std::min(after.count(), longest)),
        [](int timer, void* f) {
            // Once: the function is free to destroy us.
            event_registry::instance().update_timeout(timer, -1);
            (*static_cast<std::function<void()>*>(f))();
        },
        argument.get(), [](void* f) { delete static_cast<std::function<void()>*>(f); });
    if (timer_ >= 0)
        static_cast<void>(argument.release());
}

deadline::~deadline()
{
    if (timer_ >= 0)
        event_registry::instance().remove_timeout(timer_);
}

} // namespace avirt::detail
