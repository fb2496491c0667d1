// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/console_state.hpp>
#include <avirt/detail/attempt.hpp>
#include <avirt/detail/buffer_list.hpp>
#include <avirt/detail/connection_impl.hpp>
#include <avirt/detail/handlers.hpp>
#include <avirt/detail/supervisor_impl.hpp>
#include <avirt/error.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <memory>

namespace avirt {

struct console;
struct console_session_options;

namespace detail {

/// The one compiled implementation behind every basic_console_view.
class AVIRT_DECL console_view_impl
{
public:
    virtual ~console_view_impl();

    virtual std::uint64_t offset() const noexcept = 0;
    virtual std::uint64_t lost() noexcept = 0;
    virtual console_state state() const noexcept = 0;
    virtual void cancel() noexcept = 0;
    virtual bool try_read(const mutable_buffer_list& buffers, io_result& result) = 0;
    virtual void async_read(
        const mutable_buffer_list& buffers, io_handler handler, error_details* details) = 0;
};

/// The one compiled implementation behind every basic_console_session.
class AVIRT_DECL console_session_impl
{
public:
    static std::shared_ptr<console_session_impl> make(
        const asio::any_io_executor& executor, std::shared_ptr<supervisor_impl> host,
        std::shared_ptr<connection_impl> connection, console which, const console_session_options& options);
    virtual ~console_session_impl();

    virtual console_state state() const noexcept = 0;
    virtual error_details reason() const = 0;
    virtual std::uint64_t end_offset() const noexcept = 0;
    virtual std::uint64_t unknown_input() noexcept = 0;
    virtual void take_over() noexcept = 0;
    virtual void close() noexcept = 0;
    virtual void async_start(wait_handler handler, error_details* details) = 0;
    virtual bool try_write(const const_buffer_list& buffers, io_result& result) = 0;
    virtual void async_write(
        const const_buffer_list& buffers, io_handler handler, error_details* details) = 0;
    virtual void async_wait_for(console_state state, wait_handler handler, error_details* details) = 0;
    virtual std::shared_ptr<console_view_impl> add_view(std::uint64_t from) = 0;
};

} // namespace detail
} // namespace avirt
