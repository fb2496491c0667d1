// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace benchmark {

/// Measures calls on connections of their own, with connections that are kept for the next call and with one
/// that is opened for each.
void measure_own_calls(int rounds);

} // namespace benchmark
