// SPDX-License-Identifier: BSL-1.0
#include "loop/loop_objects.hpp"

#include "core/loop_interface.hpp"
#include "core/worker_pool.hpp"
#include "loop/fork_handlers.hpp"

namespace avirt::detail {

loop_objects& loop_objects::instance()
{
    static auto& objects = *[] {
        worker_pool::instance(); // Here: later it would be made under the lock of the tables.
        auto* o = new loop_objects;
        loop_interface::set(o->registry);
        install_fork_handlers();
        return o;
    }();
    return objects;
}

dispatch_scheduler& dispatch_scheduler::instance()
{
    return loop_objects::instance().scheduler;
}

close_deadline& close_deadline::instance()
{
    return loop_objects::instance().deadlines;
}

socket_monitor& socket_monitor::instance()
{
    return loop_objects::instance().sockets;
}

dispatcher& dispatcher::instance()
{
    return loop_objects::instance().dispatches;
}

event_registry& event_registry::instance()
{
    return loop_objects::instance().registry;
}

} // namespace avirt::detail
