// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/erase_handler.hpp>
#include <avirt/detail/initiation.hpp>
#include <avirt/detail/temporary.hpp>
#include <avirt/detail/transfer_ends.hpp>
#include <avirt/progress.hpp>
#include <avirt/transfer_options.hpp>

#include <boost/asio/any_completion_handler.hpp>

#include <memory>
#include <utility>

namespace avirt::detail {

using transfer_handler = asio::any_completion_handler<void(error_code, progress)>;

/// Moves everything from the source to the sink.
AVIRT_DECL void async_transfer(
    std::shared_ptr<transfer_source> source, std::shared_ptr<transfer_sink> sink, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details);

struct launch_receive_all
{
    transfer_options options;

    template <class Stream, class Handler, class Sink>
    void operator()(Stream& from, Handler&& handler, error_details* details, Sink&& to) const
    {
        const auto executors = executors_of(handler, from.get_executor());
        async_transfer(
            source_of(stream_pointer<Stream>{&from}), sink_of(std::forward<Sink>(to)), options, executors,
            erase_handler<void(error_code, progress)>(std::forward<Handler>(handler), from.get_executor()),
            details);
    }
};

struct launch_send_all
{
    transfer_options options;

    template <class Stream, class Handler, class Source>
    void operator()(Stream& to, Handler&& handler, error_details* details, Source&& from) const
    {
        const auto executors = executors_of(handler, to.get_executor());
        async_transfer(
            source_of(std::forward<Source>(from)), sink_of(stream_pointer<Stream>{&to}), options, executors,
            erase_handler<void(error_code, progress)>(std::forward<Handler>(handler), to.get_executor()),
            details);
    }
};

} // namespace avirt::detail
