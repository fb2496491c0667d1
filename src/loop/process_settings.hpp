// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/event_loop_options.hpp>

namespace avirt::detail {

/// Applies the options that concern the whole process: SIGPIPE, and libvirt's printing of errors. Only the
/// first loop's options apply, so that later changes by the application stay.
void apply_process_settings(const event_loop_options& options);

} // namespace avirt::detail
