// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/call.hpp>
#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/failure.hpp>
#include <avirt/detail/handlers.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <libvirt/libvirt.h>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace avirt {
struct console;
}

namespace avirt::detail {

enum class stream_wait_type { read, write, error };

/// A type-erased opener: open() starts the stream, on a worker thread.
class opener_base
{
public:
    virtual ~opener_base() = default;
    virtual failure open(virConnectPtr connection, virStreamPtr stream) noexcept = 0;
    /// Returns whether the stream is a console, whose errors mean more than those of other streams.
    virtual bool is_console() const noexcept = 0;
};

template <class Opener>
class opener final : public opener_base
{
public:
    template <class Function>
    explicit opener(Function&& function) : function_(std::forward<Function>(function))
    {
    }

    failure open(virConnectPtr connection, virStreamPtr stream) noexcept override
    {
        try {
            return function_(connection, stream) < 0 ? last_failure() : failure();
        }
        catch (...) {
            return current_failure();
        }
    }

    bool is_console() const noexcept override
    {
        return std::is_same_v<Opener, console>;
    }

private:
    Opener function_;
};

/// The compiled implementation behind every basic_async_stream, of which public headers see nothing else.
class AVIRT_DECL stream_impl
{
public:
    static std::shared_ptr<stream_impl> make(const asio::any_io_executor& executor);
    virtual ~stream_impl();

    virtual virStreamPtr native_handle() const noexcept = 0;
    virtual void adopt(virStreamPtr stream) = 0;
    virtual virStreamPtr release() = 0;
    virtual void cancel() noexcept = 0;
    virtual void close() noexcept = 0;

    virtual void async_open(
        const connection_impl& connection, bool shares_connection, std::shared_ptr<opener_base> opener,
        wait_handler handler, error_details* details) = 0;

    /// Attempts the operation without waiting. Returns false if it has to wait, or if the context has ended.
    virtual bool try_read(const mutable_buffer_list& buffers, io_result& result) = 0;
    virtual bool try_write(const const_buffer_list& buffers, io_result& result) = 0;
    virtual bool try_read_hole(hole_result& result) = 0;
    virtual bool try_wait(stream_wait_type type, wait_result& result) = 0;
    /// This one never has to wait.
    virtual bool try_write_hole(std::uint64_t length, wait_result& result) = 0;
    /// Returns whether each write takes a worker thread, so that none completes without waiting.
    virtual bool sends_on_worker() const noexcept = 0;

    virtual void async_read(
        const mutable_buffer_list& buffers, io_handler handler, error_details* details) = 0;
    virtual void async_write(
        const const_buffer_list& buffers, io_handler handler, error_details* details) = 0;
    /// Returns the previous setting.
    virtual bool stop_at_holes(bool stops) = 0;
    virtual void async_read_hole(hole_handler handler, error_details* details) = 0;
    virtual void async_wait(stream_wait_type type, wait_handler handler, error_details* details) = 0;
    virtual void async_finish(wait_handler handler, error_details* details) = 0;
    virtual void async_abort(wait_handler handler, error_details* details) = 0;
};

} // namespace avirt::detail
