// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

namespace avirt {

/// Options of a console session.
struct console_session_options
{
    /// Number of bytes of output that are kept for views. A view that is further behind loses output. The
    /// memory is used as the output comes.
    std::size_t history = 128 * 1024;
    /// Whether the session takes the console over when it opens it (VIR_DOMAIN_CONSOLE_FORCE). A session from
    /// which the console is taken over never takes it back by itself while the guest runs.
    bool force = false;
    /// Whether the console is open only while a view exists, a write is outstanding, or input has not been
    /// sent.
    bool on_demand = false;
};

} // namespace avirt
