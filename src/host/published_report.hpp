// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/host_report.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace avirt::detail {

/// The state of a domain before a report.
struct previous_state
{
    std::string uuid{};
    std::string name{};
    std::optional<int> state{}; ///< virDomainState; nothing if the domain did not exist
};

/// A report on its way to any number of receivers.
struct published_report
{
    host_report report; ///< without handles
    /// Of each domain that the report says has changed, for the receivers to which the report does not come.
    std::vector<previous_state> previous{};
    std::chrono::steady_clock::time_point made_at = std::chrono::steady_clock::now();
};

using report_ptr = std::shared_ptr<const published_report>;

/// A receiver's copy, in which the delay until the next try is what is left of it.
host_report copy_of(const published_report& published, std::chrono::steady_clock::time_point now);

} // namespace avirt::detail
