// SPDX-License-Identifier: BSL-1.0
#include "core/release_queue.hpp"

#include "core/loop_interface.hpp"
#include "core/worker_pool.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

struct reference
{
    void (*free)(void*);
    void* object;
    bool blocks;
};

/// What waits to be released. One job releases all there is, so that a list of a thousand domains costs few
/// jobs; only one that comes to wait for a daemon leaves the others to another job. Which one that will be
/// cannot be known before: it is the last reference to its connection.
class release_queue
{
public:
    release_queue()
    {
        constexpr std::size_t at_any_rate = 1024; // also when there is no memory left
        references_.reserve(at_any_rate);
    }

    void push(const reference& r) noexcept
    {
        {
            const std::lock_guard guard(mutex_);
            try {
                references_.push_back(r);
            }
            catch (const std::bad_alloc&) {
                return; // Leaked: there is nothing better to do with it.
            }
            if (std::exchange(is_served_, true))
                return;
        }
        start_server();
    }

    void serve() noexcept
    {
        while (release_one())
            ;
    }

private:
    /// Returns whether this job is to go on.
    bool release_one() noexcept
    {
        reference next{};
        {
            const std::lock_guard guard(mutex_);
            is_served_ = !references_.empty();
            if (!is_served_)
                return false;
            next = references_.back();
            references_.pop_back();
        }
        bool has_left_others = false;
        const auto leave_others = [this, &has_left_others] {
            if (!std::exchange(has_left_others, true))
                serve_others();
        };
        if (next.blocks)
            leave_others();
        loop_interface::instance().release(next.free, next.object, leave_others);
        return !has_left_others;
    }

    void serve_others() noexcept
    {
        {
            const std::lock_guard guard(mutex_);
            is_served_ = !references_.empty();
            if (!is_served_)
                return;
        }
        start_server();
    }

    void start_server() noexcept;

    std::mutex mutex_;
    std::vector<reference> references_;
    bool is_served_ = false; // A job is on its way, or at work and not held up.
};

std::atomic<release_queue*> current{nullptr};

// What waits in the parent's is released by the parent's threads, and its lock may be held by one of them.
void after_fork_in_any_child()
{
    current = new release_queue;
}

release_queue& instance()
{
    // Never destroyed: handles with static storage may end later than it would.
    static const int once = [] {
        current = new release_queue;
        return ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
    }();
    (void)once;
    return *current;
}

void release_queue::start_server() noexcept
{
    if (worker_pool::instance().post([] { instance().serve(); }, worker_pool::keeps_loop::yes))
        return;
    const std::lock_guard guard(mutex_);
    is_served_ = false; // The next one tries again.
}

void close(void* connection)
{
    virConnectClose(static_cast<virConnectPtr>(connection));
}

} // namespace

void prepare_release_queue()
{
    instance();
}

void release_later(void (*free)(void*), void* object) noexcept
{
    instance().push({free, object, false});
}

void release_apart(void (*free)(void*), void* object) noexcept
{
    instance().push({free, object, true});
}

void close_later(virConnectPtr connection) noexcept
{
    release_later(&close, connection);
}

} // namespace avirt::detail
