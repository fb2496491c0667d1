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

/// The references that wait to be released. One job releases all of them, so that a list of a thousand
/// domains costs few jobs. If a release has to wait for a daemon, another job takes over the remaining
/// references. Which release that will be is not known before: the one that drops the last reference to its
/// connection.
class release_queue
{
public:
    release_queue()
    {
        constexpr std::size_t without_memory = 1024; // references that can be kept if there is no memory left
        references_.reserve(without_memory);
    }

    void push(const reference& r) noexcept
    {
        {
            const std::lock_guard guard(mutex_);
            try {
                references_.push_back(r);
            }
            catch (const std::bad_alloc&) {
                return; // The object leaks: it can neither be kept nor released here.
            }
            if (std::exchange(has_job_, true))
                return;
        }
        start_job();
    }

    /// Releases references until there are none, or until another job does.
    void run_job() noexcept
    {
        while (release_one())
            ;
    }

private:
    /// Returns whether this job has to continue.
    bool release_one() noexcept
    {
        reference next{};
        {
            const std::lock_guard guard(mutex_);
            has_job_ = !references_.empty();
            if (!has_job_)
                return false;
            next = references_.back();
            references_.pop_back();
        }
        bool has_handed_over = false;
        const auto hand_over = [this, &has_handed_over] {
            if (!std::exchange(has_handed_over, true))
                hand_over_to_another_job();
        };
        if (next.blocks)
            hand_over();
        loop_interface::instance().release(next.free, next.object, hand_over);
        return !has_handed_over;
    }

    void hand_over_to_another_job() noexcept
    {
        {
            const std::lock_guard guard(mutex_);
            has_job_ = !references_.empty();
            if (!has_job_)
                return;
        }
        start_job();
    }

    void start_job() noexcept;

    std::mutex mutex_;
    std::vector<reference> references_;
    bool has_job_ = false; // A job has been posted, or is running and has not handed over.
};

std::atomic<release_queue*> current{nullptr};

// The parent's threads release the references in the parent's queue, and one of them may hold its lock.
void after_fork_in_any_child()
{
    current = new release_queue;
}

release_queue& instance()
{
    // Never destroyed: handles with static storage may end later.
    static const int once = [] {
        current = new release_queue;
        return ::pthread_atfork(nullptr, nullptr, &after_fork_in_any_child);
    }();
    (void)once;
    return *current;
}

void release_queue::start_job() noexcept
{
    if (worker_pool::instance().post([] { instance().run_job(); }, worker_pool::keeps_loop::yes))
        return;
    const std::lock_guard guard(mutex_);
    has_job_ = false; // The next push() tries again.
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
