// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "core/pending_operation.hpp"
#include "stream/stream_transport.hpp"
#include "stream/waiting_operations.hpp"

#include <avirt/detail/stream_impl.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace avirt::detail {

/// The part of a stream that reads, writes and waits, while the stream is open.
class stream_io : public stream_impl,
                  public waiting_operations,
                  public std::enable_shared_from_this<stream_io>
{
public:
    bool try_read(const mutable_buffer_list& buffers, io_result& result) override;
    bool try_write(const const_buffer_list& buffers, io_result& result) override;
    bool try_read_hole(hole_result& result) override;
    bool try_write_hole(std::uint64_t length, wait_result& result) override;
    bool try_wait(stream_wait_type type, wait_result& result) override;
    bool sends_on_worker() const noexcept override;

    void async_read(const mutable_buffer_list& buffers, io_handler handler, error_details* details) override;
    void async_write(const const_buffer_list& buffers, io_handler handler, error_details* details) override;
    bool stop_at_holes(bool stops) override;
    void async_read_hole(hole_handler handler, error_details* details) override;
    void async_wait(stream_wait_type type, wait_handler handler, error_details* details) override;

    bool retry_reads() override;
    bool retry_writes() override;
    void complete_write(failure f, std::size_t bytes) override;

protected:
    using io_operation = pending_operation<void(error_code, std::size_t)>;
    using hole_operation = pending_operation<void(error_code, std::uint64_t)>;
    using wait_operation = pending_operation<void(error_code)>;

    struct handlers
    {
        std::optional<io_operation::state> read;
        std::optional<io_operation::state> write;
        std::optional<hole_operation::state> read_hole;
        std::array<std::optional<wait_operation::state>, 3> waits;
    };

    explicit stream_io(const asio::any_io_executor& executor) : executor_(executor) {}

    bool is_writing() const noexcept
    {
        return static_cast<bool>(write_);
    }

    /// The stream is open from now on. Called with the lock held, as are the following.
    void use(std::shared_ptr<stream_transport> transport);
    /// Completes all operations with operation_aborted. A write that has begun may cost the connection.
    void cancel_io() noexcept;
    /// The same for a stream that ends.
    void leave_io() noexcept;
    /// For a context that ends: the handlers, to be destroyed outside the lock.
    handlers shut_down_io() noexcept;

    asio::any_io_executor executor_;              // empty: the context has ended
    std::shared_ptr<stream_transport> transport_; // null: not open

private:
    void abort_all() noexcept;
    bool try_read_locked(const mutable_buffer_list& buffers, io_result& result);
    bool try_write_locked(const const_buffer_list& buffers, io_result& result);
    bool try_read_hole_locked(hole_result& result);
    bool try_wait_locked(stream_wait_type type, wait_result& result);

    bool is_reading() const noexcept
    {
        return read_ || read_hole_;
    }

    wait_operation& wait_for(stream_wait_type type) noexcept
    {
        return waits_[static_cast<std::size_t>(type)];
    }

    void retry_wait(stream_wait_type type);
    template <class Handler, class Operation, class Function>
    void cancel_with(const Handler& handler, const Operation& operation, Function function);

    io_operation read_;
    mutable_buffer_list read_buffers_;
    hole_operation read_hole_;
    bool stops_at_holes_ = false;

    io_operation write_;
    const_buffer_list write_buffers_;

    std::array<wait_operation, 3> waits_; // by stream_wait_type
};

} // namespace avirt::detail
