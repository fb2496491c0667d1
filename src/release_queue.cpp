// SPDX-License-Identifier: BSL-1.0
#include "release_queue.hpp"

#include "worker_pool.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

struct reference
{
    void (*free)(void*);
    void* object;
};

/// What waits to be released: a job takes all there is, so that a list of a thousand domains costs few jobs.
struct queue
{
    std::mutex mutex;
    std::vector<reference> references;
};

std::atomic<queue*> current{nullptr};

// What waits in the parent's is released by the parent's threads, and its lock may be held by one of them.
void after_fork_in_any_child()
{
    current = new queue;
}

queue& instance()
{
    // Never destroyed: handles with static storage may end later than it would.
    static const int once = [] {
        current = new queue;
        return ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
    }();
    (void)once;
    return *current;
}

void release_all()
{
    std::vector<reference> references;
    {
        const std::lock_guard guard(instance().mutex);
        references.swap(instance().references);
    }
    for (const auto& r : references)
        r.free(r.object);
}

} // namespace

void release_later(void (*free)(void*), void* object) noexcept
{
    bool is_first = false;
    {
        const std::lock_guard guard(instance().mutex);
        is_first = instance().references.empty();
        instance().references.push_back({free, object});
    }
    if (is_first)
        worker_pool::instance().submit(&release_all, worker_pool::place::urgent);
}

} // namespace avirt::detail
