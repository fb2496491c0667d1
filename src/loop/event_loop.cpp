// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_loop.hpp>

#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/event_registry.hpp"

#include <boost/asio/posix/descriptor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/query.hpp>
#include <libvirt/virterror.h>
#include <signal.h>

#include <exception>
#include <list>
#include <new>

namespace avirt {
namespace detail {
namespace {

/// Tells the loop of its context's fork and end. Apart from context_service, because it must be the younger
/// of this and Asio's reactor: after a fork the reactor has to make its own set first.
class loop_service final : public asio::execution_context::service
{
public:
    static inline asio::execution_context::id id;

    explicit loop_service(asio::execution_context& context) : asio::execution_context::service(context) {}

    std::weak_ptr<event_loop_impl> loop;

private:
    void shutdown() override;
    void notify_fork(asio::execution_context::fork_event event) override;
};

} // namespace

class event_loop_impl final : public loop_backend, public std::enable_shared_from_this<event_loop_impl>
{
public:
    event_loop_impl(const asio::any_io_executor& executor, event_loop_options options)
        : executor_(executor),
          descriptor_(std::in_place, executor),
          options_(std::move(options))
    {
    }

    void start()
    {
        // The descriptor has made the reactor by now: see loop_service.
        auto& service = asio::use_service<loop_service>(asio::query(executor_, asio::execution::context));
        first_turn_ = asio::prefer(executor_, asio::execution::outstanding_work.tracked);
        event_registry::instance().bind(shared_from_this());
        service.loop = weak_from_this();
    }

    /// The loop is destroyed, or its context is. Safe to call twice, and from any thread.
    void stop(bool context_ends) noexcept
    {
        std::list<drain> drains;
        {
            const std::lock_guard guard(mutex_);
            if (descriptor_) {
                release_descriptor();
                descriptor_.reset();
            }
            executor_ = {};
            first_turn_ = {};
            drains.swap(drains_);
            if (!context_ends) {
                for (auto& d : drains)
                    d.complete(error_code(asio::error::operation_aborted));
            }
        }
        drains.clear();
        event_registry::instance().unbind(*this);
    }

    asio::any_io_executor get_executor() const noexcept
    {
        const std::lock_guard guard(mutex_);
        return executor_;
    }

    bool post_dispatch() noexcept override
    try {
        const std::lock_guard guard(mutex_);
        if (executor_)
            asio::post(executor_, [self = shared_from_this()] {
                event_registry::instance().dispatch(*self, event_registry::phase::posted);
            });
        first_turn_ = {};
        return true;
    }
    catch (const std::bad_alloc&) {
        return false;
    }

    bool await_set(int epoll_fd) noexcept override
    try {
        const std::lock_guard guard(mutex_);
        if (!descriptor_)
            return true;
        if (!descriptor_->is_open())
            descriptor_->assign(epoll_fd);
        descriptor_->async_wait(
            asio::posix::descriptor_base::wait_read, [self = shared_from_this()](const error_code& ec) {
                if (!ec)
                    event_registry::instance().dispatch(*self, event_registry::phase::awaiting);
            });
        return true;
    }
    catch (const std::exception&) { // The reactor may want a file, or room in the kernel, too.
        return false;
    }

    void forget_set() noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (descriptor_)
            release_descriptor();
    }

    void idle() override
    {
        const std::lock_guard guard(mutex_);
        if (!event_registry::instance().is_idle())
            return; // A drain may have been started since, by who has added something before.
        for (auto& d : drains_)
            d.complete({});
        drains_.clear();
    }

    const event_loop_options& options() const noexcept override
    {
        return options_;
    }

    void start_drain(wait_handler handler, error_details* details)
    {
        {
            const std::lock_guard guard(mutex_);
            if (!executor_)
                return; // The context is gone, and with it everybody who could be told.
            auto& d = drains_.emplace_front();
            on_cancel(handler, [weak = weak_from_this(), number = ++last_drain_](asio::cancellation_type) {
                if (const auto self = weak.lock())
                    self->cancel_drain(number);
            });
            d.start(std::move(handler), executor_, details);
            d.number = last_drain_;
        }
        event_registry::instance().nudge();
    }

private:
    struct drain : pending_operation<void(error_code)>
    {
        std::uint64_t number = 0;
    };

    void cancel_drain(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        for (auto it = drains_.begin(); it != drains_.end(); ++it) {
            if (it->number == number) {
                it->complete(error_code(asio::error::operation_aborted));
                drains_.erase(it);
                return;
            }
        }
    }

    // The set is the registry's, not the descriptor's to close.
    void release_descriptor() noexcept
    {
        if (descriptor_->is_open())
            descriptor_->release();
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    asio::any_io_executor first_turn_; // Work, until a free callback that began before the loop has returned.
    std::optional<asio::posix::stream_descriptor> descriptor_;
    std::list<drain> drains_;
    std::uint64_t last_drain_ = 0;
    const event_loop_options options_;
};

namespace {

void loop_service::shutdown()
{
    if (const auto l = loop.lock())
        l->stop(true);
}

void loop_service::notify_fork(asio::execution_context::fork_event event)
{
    const auto l = loop.lock();
    if (!l || event != asio::execution_context::fork_child)
        return;
    l->forget_set();
    event_registry::instance().after_fork_in_child();
}

void ignore_sigpipe() noexcept
{
    struct sigaction action;
    if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        ::sigaction(SIGPIPE, &action, nullptr);
    }
}

/// Process-wide settings: the first loop's, so that what the application sets later stays.
void set_up_process(const event_loop_options& options)
{
    static const bool once = [&] {
        if (options.ignore_sigpipe)
            ignore_sigpipe();
        if (options.silence_libvirt)
            virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        return true;
    }();
    (void)once;
}

} // namespace
} // namespace detail

event_loop::event_loop(executor_type executor, event_loop_options options)
    : impl_(std::make_shared<detail::event_loop_impl>(executor, options))
{
    impl_->start();
    detail::set_up_process(options);
    detail::prepare_release_queue();
    detail::worker_pool::instance().set_limits(options.max_blocking_calls, options.max_threads);
}

event_loop::~event_loop()
{
    impl_->stop(false);
}

event_loop::executor_type event_loop::get_executor() const noexcept
{
    return impl_->get_executor();
}

bool event_loop::is_idle() const noexcept
{
    return detail::event_registry::instance().is_idle();
}

event_loop_stats event_loop::stats() const
{
    auto s = detail::event_registry::instance().stats();
    const auto calls = detail::worker_pool::instance().stats();
    s.running_calls = calls.running;
    s.queued_calls = calls.queued;
    s.abandoned_calls = calls.abandoned;
    return s;
}

void event_loop::start_drain(detail::wait_handler handler, error_details* details)
{
    impl_->start_drain(std::move(handler), details);
}

} // namespace avirt
