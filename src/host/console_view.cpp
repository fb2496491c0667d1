// SPDX-License-Identifier: BSL-1.0
#include <avirt/console_view.hpp>

#include "host/console_driver.hpp"
#include "host/console_view.hpp"

#include <utility>

namespace avirt::detail {
namespace {

class console_view_object final : public console_view_impl
{
public:
    console_view_object(std::shared_ptr<console_driver> driver, std::uint64_t from)
        : driver_(std::move(driver)),
          reader_(std::make_shared<console_broadcast::reader>())
    {
        broadcast().place_at(*reader_, from);
        driver_->add_user();
    }

    ~console_view_object() override
    {
        driver_->remove_user();
    }

    std::uint64_t offset() const noexcept override
    {
        return broadcast().offset(*reader_);
    }

    std::uint64_t lost() noexcept override
    {
        return broadcast().take_lost(*reader_);
    }

    console_state state() const noexcept override
    {
        return broadcast().state(*reader_);
    }

    void cancel() noexcept override
    {
        broadcast().cancel(*reader_);
    }

    bool try_read(const mutable_buffer_list& buffers, io_result& result) override
    {
        return broadcast().try_read(*reader_, buffers, result);
    }

    void async_read(const mutable_buffer_list& buffers, io_handler handler, error_details* details) override
    {
        broadcast().async_read(reader_, buffers, std::move(handler), details);
    }

private:
    console_broadcast& broadcast() const noexcept
    {
        return *driver_->broadcast();
    }

    const std::shared_ptr<console_driver> driver_;
    const std::shared_ptr<console_broadcast::reader> reader_;
};

} // namespace

console_view_impl::~console_view_impl() = default;

std::shared_ptr<console_view_impl> make_console_view(
    std::shared_ptr<console_driver> driver, std::uint64_t from)
{
    return std::make_shared<console_view_object>(std::move(driver), from);
}

} // namespace avirt::detail
