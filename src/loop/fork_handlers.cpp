// SPDX-License-Identifier: BSL-1.0
#include "loop/fork_handlers.hpp"

#include "core/fork_gate.hpp"
#include "loop/loop_objects.hpp"

#include <pthread.h>

namespace avirt::detail {
namespace {

event_tables& tables()
{
    return loop_objects::instance().tables;
}

void before_fork()
{
    // The child must find no change half made. The gate comes first: threads inside it lock the tables.
    fork_gate::close();
    tables().mutex.lock();
}

void after_fork_in_parent()
{
    tables().mutex.unlock();
    fork_gate::open_in_parent();
}

void after_fork_in_child()
{
    tables().disown_files();
    tables().mutex.unlock();
    fork_gate::open_in_child();
}

} // namespace

void install_fork_handlers() noexcept
{
    ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
}

void restart_after_fork()
{
    loop_objects::instance().scheduler.restart_after_fork();
}

} // namespace avirt::detail
