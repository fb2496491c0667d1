// SPDX-License-Identifier: BSL-1.0
#include "release_queue.hpp"

#include "worker_pool.hpp"

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

queue& instance()
{
    static auto& q = *new queue; // Handles with static storage may end later than it would.
    return q;
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
