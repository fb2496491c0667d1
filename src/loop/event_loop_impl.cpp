// SPDX-License-Identifier: BSL-1.0
#include "loop/event_loop_impl.hpp"

#include "core/dispatch_completion.hpp"
#include "loop/dispatcher.hpp"
#include "loop/event_registry.hpp"
#include "loop/loop_service.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/descriptor.hpp>

#include <exception>
#include <new>
#include <utility>

namespace avirt::detail {

event_loop_impl::event_loop_impl(const asio::any_io_executor& executor, event_loop_options options)
    : context_(
        executor.target<asio::io_context::executor_type>() ? &asio::query(executor, asio::execution::context)
                                                           : nullptr),
      executor_(executor),
      descriptor_(std::in_place, executor),
      options_(std::move(options))
{
}

void event_loop_impl::start()
{
    // The descriptor has made the reactor by now, which loop_service relies on.
    auto& service = loop_service::of(executor_);
    first_dispatch_work_ = asio::prefer(executor_, asio::execution::outstanding_work.tracked);
    event_registry::instance().bind(shared_from_this());
    service.loop = weak_from_this();
}

void event_loop_impl::stop(bool context_ends) noexcept
{
    drain_list drains;
    {
        const std::lock_guard guard(mutex_);
        if (descriptor_) {
            release_descriptor();
            descriptor_.reset();
        }
        executor_ = {};
        first_dispatch_work_ = {};
        if (!context_ends)
            drains_.complete_all(asio::error::operation_aborted);
        drains = drains_.take_all();
    }
    drains = {};
    event_registry::instance().unbind(*this);
}

asio::any_io_executor event_loop_impl::get_executor() const noexcept
{
    const std::lock_guard guard(mutex_);
    return executor_;
}

void event_loop_impl::start_drain(wait_handler handler, error_details* details)
{
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return; // The context is gone: the handler is destroyed.
        drains_.start(
            std::move(handler), executor_, details, [weak = weak_from_this()](std::uint64_t number) {
                if (const auto self = weak.lock())
                    self->cancel_drain(number);
            });
    }
    dispatch_scheduler::instance().wake(); // A dispatch that finds nothing completes the drain.
}

void event_loop_impl::cancel_drain(std::uint64_t number)
{
    const std::lock_guard guard(mutex_);
    drains_.cancel(number);
}

bool event_loop_impl::post_dispatch() noexcept
try {
    const std::lock_guard guard(mutex_);
    if (executor_)
        asio::post(executor_, [self = shared_from_this()] { self->dispatch(dispatch_state::trigger::post); });
    first_dispatch_work_ = {};
    return true;
}
catch (const std::bad_alloc&) {
    return false;
}

bool event_loop_impl::await_set(int epoll_fd) noexcept
try {
    const std::lock_guard guard(mutex_);
    if (!descriptor_)
        return true;
    if (!descriptor_->is_open())
        descriptor_->assign(epoll_fd);
    descriptor_->async_wait(
        asio::posix::descriptor_base::wait_read, [self = shared_from_this()](const error_code& ec) {
            if (!ec)
                self->dispatch(dispatch_state::trigger::readiness);
        });
    return true;
}
catch (const std::exception&) { // The reactor may also lack a file, or room in the kernel.
    return false;
}

void event_loop_impl::dispatch(dispatch_state::trigger due)
{
    dispatch_completion completion(context_);
    dispatcher::instance().dispatch(*this, due);
    completion.run();
}

void event_loop_impl::forget_set() noexcept
{
    const std::lock_guard guard(mutex_);
    if (descriptor_)
        release_descriptor();
}

void event_loop_impl::idle()
{
    const std::lock_guard guard(mutex_);
    // Something may have been added, and a drain started for it, since the dispatch has ended.
    if (event_registry::instance().is_idle())
        drains_.complete_all({});
}

const event_loop_options& event_loop_impl::options() const noexcept
{
    return options_;
}

/// The event tables close the epoll set, not the descriptor.
void event_loop_impl::release_descriptor() noexcept
{
    if (descriptor_->is_open())
        descriptor_->release();
}

} // namespace avirt::detail
