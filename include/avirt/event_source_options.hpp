// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <string>

namespace avirt {

/// Options of an event source.
struct event_source_options
{
    /// Name or UUID of the object whose events are wanted; empty: the events of all objects. The object is
    /// looked up with each subscription. An object that is undefined and then defined again under the same
    /// name is another object, whose events are not reported.
    std::string object{};
    /// Maximum number of queued events.
    std::size_t capacity = 1024;
};

} // namespace avirt
