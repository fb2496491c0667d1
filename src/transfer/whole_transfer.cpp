// SPDX-License-Identifier: BSL-1.0
#include <avirt/detail/initiate_transfer.hpp>

#include "transfer/pump.hpp"
#include "transfer/transfer_operation.hpp"

#include <utility>

namespace avirt::detail {

void async_transfer(
    std::shared_ptr<transfer_source> source, std::shared_ptr<transfer_sink> sink, transfer_options options,
    const transfer_executors& executors, transfer_handler handler, error_details* details)
{
    const auto part = part_of(std::move(source), options.offset, options.length);
    const auto transfer = [part, sink, passes_holes = options.sparse](transfer_meter& meter) {
        meter.expect(part->size());
        return pump(*part, *sink, meter, passes_holes);
    };
    launch_transfer(executors, std::move(options), std::move(handler), details, transfer);
}

} // namespace avirt::detail
