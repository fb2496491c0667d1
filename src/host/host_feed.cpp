// SPDX-License-Identifier: BSL-1.0
#include <avirt/host_feed.hpp>

#include "host/report_broadcast.hpp"

#include <utility>

namespace avirt::detail {

host_feed_impl::host_feed_impl(std::shared_ptr<supervisor_impl> host, std::size_t capacity)
    : host_(std::move(host)),
      receiver_(host_->add_receiver(capacity))
{
}

host_feed_impl::~host_feed_impl()
{
    host_->remove(*receiver_);
}

void host_feed_impl::cancel() noexcept
{
    host_->cancel(*receiver_);
}

void host_feed_impl::async_receive(report_handler handler, error_details* details)
{
    host_->async_receive_for(receiver_, std::move(handler), details);
}

} // namespace avirt::detail
