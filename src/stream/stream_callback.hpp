// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "stream/libvirt_stream.hpp"

#include <libvirt/libvirt.h>

namespace avirt::detail {

/// libvirt's event callback of a stream. It is added once in a stream's life and without a free callback,
/// afterwards only the requested events change: what libvirt does beyond that differs between drivers and
/// versions (docs/libvirt.md, "Streams").
class stream_callback
{
public:
    explicit stream_callback(const libvirt_stream& stream) noexcept : stream_(stream) {}

    /// Adds the callback, with no events requested. Returns false if libvirt refuses it; the reason is
    /// libvirt's last error then.
    bool add(virStreamEventCallback function, void* argument);
    /// Removes the callback, if there is one.
    void remove() noexcept;

    /// Requests VIR_STREAM_EVENT_* beside those that are requested already. Returns false if libvirt has
    /// aborted the stream.
    bool request(int events)
    {
        return set(requested_ | events);
    }

    /// Requests these events no longer. Returns false if libvirt has aborted the stream.
    bool cancel(int events)
    {
        return set(requested_ & ~events);
    }

private:
    bool set(int events);

    const libvirt_stream& stream_;
    bool is_added_ = false;
    int watch_ = 0; // libvirt's, of a stream that is a file; 0: none
    int requested_ = 0;
};

} // namespace avirt::detail
