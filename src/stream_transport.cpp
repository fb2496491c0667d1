// SPDX-License-Identifier: BSL-1.0
#include "stream_transport.hpp"

#include "connect.hpp"

#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace avirt::detail {

failure stream_transport::finish(int (*function)(virStreamPtr), bool is_awaited)
{
    std::optional<closing_patience> patience;
    if (!is_awaited && is_impatient())
        patience.emplace(link_);
    auto f = function(stream_) < 0 ? last_failure() : failure();
    if (f && link_ && link_->socket < 0 && function == &virStreamFinish)
        f.code = error::result_unknown;
    virStreamFree(stream_);
    return f;
}

std::size_t stream_transport::receive(asio::mutable_buffer buffer)
{
    const auto size = std::min<std::size_t>(buffer.size(), std::numeric_limits<int>::max());
    return received(virStreamRecv(stream_, static_cast<char*>(buffer.data()), size));
}

std::size_t stream_transport::received(int n)
{
    if (n > 0)
        return static_cast<std::size_t>(n);
    if (n == 0)
        end_ = error_code(asio::error::eof);
    else if (n != would_block)
        end_ = explain(last_failure());
    else if (is_lost_)
        end_ = lost_failure(*link_);
    return 0;
}

bool stream_transport::conclude_receive(io_result& result) const
{
    if (result.bytes == 0)
        result.ending = end_;
    return result.bytes != 0 || result.ending;
}

void stream_transport::lose()
{
    is_lost_ = true;
    refuse_sends();
}

void stream_transport::refuse_sends()
{
    if (!send_failure_)
        send_failure_ = lost_failure(*link_);
}

failure stream_transport::explain(failure f) const
{
    // The daemon says no more than that to the stream that loses its console.
    if (is_console_ && f.details.code == VIR_ERR_RPC && f.details.domain == VIR_FROM_STREAMS)
        return refine(std::move(f), condition::console_taken_over);
    return f;
}

} // namespace avirt::detail
