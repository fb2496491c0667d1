// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_loop.hpp>

#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/event_loop_impl.hpp"
#include "loop/event_registry.hpp"
#include "loop/process_settings.hpp"

#include <utility>

namespace avirt {

event_loop::event_loop(executor_type executor, event_loop_options options)
    : impl_(std::make_shared<detail::event_loop_impl>(executor, options))
{
    impl_->start();
    detail::apply_process_settings(options);
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
