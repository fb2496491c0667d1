// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "loop/close_deadline.hpp"
#include "loop/dispatch_scheduler.hpp"
#include "loop/dispatcher.hpp"
#include "loop/event_registry.hpp"
#include "loop/event_tables.hpp"
#include "loop/socket_monitor.hpp"

namespace avirt::detail {

/// The parts of the event loop: one of each for the process, as libvirt has one event implementation for the
/// process.
struct loop_objects
{
    /// Never destroyed: libvirt calls them until the process ends.
    static loop_objects& instance();

    event_tables tables;
    dispatch_scheduler scheduler{tables, [] { instance().dispatches.run_deferred_unbound(); }};
    close_deadline deadlines{tables, scheduler};
    socket_monitor sockets{tables, deadlines};
    dispatcher dispatches{tables, scheduler, sockets};
    event_registry registry{tables, scheduler, dispatches, sockets};
};

} // namespace avirt::detail
