// SPDX-License-Identifier: BSL-1.0
#include "loop/event_tables.hpp"

namespace avirt::detail {

void event_tables::open_files()
{
    if (!wake_)
        wake_ = std::make_shared<const wake_event>();
    timeouts.open();
    watches.open(wake_fds());
}

void event_tables::close_files() noexcept
{
    watches.close();
    timeouts.close();
    wake_.reset();
}

std::array<int, 2> event_tables::wake_fds() const noexcept
{
    return {wake_->fd(), timeouts.timer_fd()};
}

std::shared_ptr<const wake_event> event_tables::wake_event_to_signal() const noexcept
{
    return has_shared_files_ ? nullptr : wake_;
}

void event_tables::arm_timer_in_place() noexcept
{
    if (!has_shared_files_)
        timeouts.arm();
}

void event_tables::disown_files() noexcept
{
    has_shared_files_ = true;
    watches.disown();
}

void event_tables::replace_shared_files()
{
    wake_ = std::make_shared<const wake_event>();
    timeouts.close();
    timeouts.open();
    watches.rebuild_after_fork(wake_fds());
    has_shared_files_ = false;
}

} // namespace avirt::detail
