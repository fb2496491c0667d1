// SPDX-License-Identifier: BSL-1.0
#include <avirt/console_session.hpp>

#include "host/console_driver.hpp"
#include "host/console_start.hpp"
#include "host/console_view.hpp"

#include <utility>

namespace avirt {
namespace detail {
namespace {

class console_session_object final : public console_session_impl
{
public:
    console_session_object(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
        std::shared_ptr<console_driver> driver)
        : executor_(executor),
          connection_(std::move(connection)),
          driver_(std::move(driver))
    {
    }

    console_state state() const noexcept override
    {
        return driver_->broadcast()->state();
    }

    error_details reason() const override
    {
        return driver_->broadcast()->reason();
    }

    std::uint64_t end_offset() const noexcept override
    {
        return driver_->broadcast()->end_offset();
    }

    std::uint64_t unknown_input() noexcept override
    {
        return driver_->input()->take_unknown();
    }

    void take_over() noexcept override
    {
        driver_->take_over();
    }

    void close() noexcept override
    {
        driver_->close();
    }

    void async_start(wait_handler handler, error_details* details) override
    {
        start_guest(executor_, connection_, driver_, std::move(handler), details);
    }

    bool try_write(const const_buffer_list& buffers, io_result& result) override
    {
        const bool is_done = driver_->input()->try_write(buffers, result);
        if (result.bytes != 0)
            driver_->on_input();
        return is_done;
    }

    void async_write(const const_buffer_list& buffers, io_handler handler, error_details* details) override
    {
        driver_->input()->async_write(buffers, std::move(handler), details);
        driver_->on_input();
    }

    void async_wait_for(console_state state, wait_handler handler, error_details* details) override
    {
        driver_->broadcast()->async_wait_for(state, std::move(handler), details);
    }

    std::shared_ptr<console_view_impl> add_view(std::uint64_t from) override
    {
        return make_console_view(driver_, from);
    }

private:
    const asio::any_io_executor executor_;
    const std::shared_ptr<connection_impl> connection_;
    const std::shared_ptr<console_driver> driver_;
};

} // namespace

console_session_impl::~console_session_impl() = default;

std::shared_ptr<console_session_impl> console_session_impl::make(
    const asio::any_io_executor& executor, std::shared_ptr<supervisor_impl> host,
    std::shared_ptr<connection_impl> connection, console which, const console_session_options& options)
{
    const auto driver =
        std::make_shared<console_driver>(executor, host->consoles(), connection, std::move(which), options);
    context_objects::of(executor)->add(driver);
    driver->start(std::move(host));
    return std::make_shared<console_session_object>(executor, std::move(connection), driver);
}

} // namespace detail

std::string_view to_string(console_state state) noexcept
{
    switch (state) {
    case console_state::host_away:
        return "host away";
    case console_state::off:
        return "off";
    case console_state::opening:
        return "opening";
    case console_state::attached:
        return "attached";
    case console_state::paused:
        return "paused";
    case console_state::stalled:
        return "stalled";
    case console_state::taken_over:
        return "taken over";
    case console_state::unavailable:
        return "unavailable";
    case console_state::closed:
        return "closed";
    }
    return "unknown";
}

} // namespace avirt
