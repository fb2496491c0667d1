// SPDX-License-Identifier: BSL-1.0
#include "host/console_start.hpp"

#include "connection/find_domain.hpp"
#include "core/coroutine_operation.hpp"
#include "core/fork_gate.hpp"
#include "host/console_driver.hpp"
#include "host/console_run.hpp"
#include "host/coroutines.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

namespace avirt::detail {
namespace {

using start_operation = coroutine_operation<>;

/// Keeps the session's console open, also if it is open on demand.
class user_of_console
{
public:
    explicit user_of_console(std::shared_ptr<console_driver> driver) : driver_(std::move(driver))
    {
        driver_->add_user();
    }

    ~user_of_console()
    {
        driver_->remove_user();
    }

    user_of_console(const user_of_console&) = delete;
    user_of_console& operator=(const user_of_console&) = delete;

private:
    const std::shared_ptr<console_driver> driver_;
};

/// A guest that is started paused, and destroyed if it is given up before it has been resumed. The functions
/// that call libvirt are called on worker threads.
class paused_guest
{
public:
    void start(virConnectPtr connection, const std::string& name)
    {
        const auto guest = find_domain(connection, name);
        if (virDomainCreateWithFlags(guest.get(), VIR_DOMAIN_START_PAUSED) < 0)
            throw_last_error();
        run_ = static_cast<int>(virDomainGetID(guest.get()));
        bool is_given_up = false;
        {
            const std::lock_guard guard(mutex_);
            virDomainRef(guest.get());
            guest_ = domain(guest.get());
            is_given_up = is_given_up_;
        }
        if (is_given_up)
            destroy();
    }

    /// The id that it has in this run.
    int run() const noexcept
    {
        return run_;
    }

    /// Throws if it has ended.
    void check() const
    {
        int state = VIR_DOMAIN_NOSTATE;
        if (virDomainGetState(guest_.get(), &state, nullptr, 0) < 0)
            throw_last_error();
        if (state != VIR_DOMAIN_PAUSED) {
            auto f = describe_failure(
                VIR_FROM_DOM, "the guest ended before it was resumed", condition::guest_gone);
            throw exception(f.code, std::move(f.details));
        }
    }

    void resume() const
    {
        if (virDomainResume(guest_.get()) < 0)
            throw_last_error();
    }

    /// Returns whether it has been started, and so has to be destroyed.
    bool give_up()
    {
        const std::lock_guard guard(mutex_);
        is_given_up_ = true;
        return static_cast<bool>(guest_);
    }

    void destroy() const
    {
        int state = VIR_DOMAIN_NOSTATE;
        if (virDomainGetState(guest_.get(), &state, nullptr, 0) == 0 && state == VIR_DOMAIN_PAUSED)
            virDomainDestroy(guest_.get());
    }

private:
    fork_safe_mutex mutex_;
    domain guest_; // null: it has not been started
    int run_ = console_run_opener::no_run;
    bool is_given_up_ = false;
};

asio::awaitable<failure> call_guest(
    std::shared_ptr<connection_impl> connection, std::shared_ptr<paused_guest> guest,
    void (paused_guest::*function)() const)
{
    const auto f = [guest, function](virConnectPtr) {
        ((*guest).*function)();
        return 0;
    };
    co_return (co_await call_on(connection, f)).error;
}

asio::awaitable<failure> wait_for_news(std::shared_ptr<console_broadcast> broadcast, std::uint64_t known)
{
    failure f;
    std::tie(f.code) = co_await await_operation<void(error_code)>([&](auto handler) {
        broadcast->async_wait_for_news(known, wait_handler(std::move(handler)), &f.details);
    });
    co_return f;
}

failure not_attached(console_driver& driver, console_state state)
{
    if (state == console_state::closed)
        return error::not_open;
    auto why = driver.broadcast()->reason();
    if (why.message.empty())
        why.message = std::string("the console is ").append(to_string(state));
    return {error::not_attached, std::move(why)};
}

/// Waits until the console is open of a guest that has just been started. The session hears of the start
/// later; until then its state says nothing about this run of the guest.
asio::awaitable<failure> wait_until_attached(
    std::shared_ptr<start_operation> self, std::shared_ptr<connection_impl> connection,
    std::shared_ptr<console_driver> driver, std::shared_ptr<paused_guest> guest, unsigned starts)
{
    failure why;
    while (!why) {
        const auto known = driver->broadcast()->news();
        const auto state = driver->broadcast()->state();
        const bool has_failed = state == console_state::unavailable || state == console_state::taken_over;
        if (state == console_state::closed || (has_failed && driver->starts() != starts))
            co_return not_attached(*driver, state);
        if (driver->attached_run() == guest->run())
            co_return failure();
        why = co_await call_guest(connection, guest, &paused_guest::check);
        if (!why)
            why = co_await wait_for_news(driver->broadcast(), known);
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (self->is_cancelled(cancellation))
            why = error_code(asio::error::operation_aborted);
    }
    co_return why;
}

asio::awaitable<failure> start(
    std::shared_ptr<start_operation> self, std::shared_ptr<connection_impl> connection,
    std::shared_ptr<console_driver> driver)
{
    if (driver->broadcast()->state() == console_state::closed)
        co_return error::not_open;
    const user_of_console user(driver);
    const auto guest = std::make_shared<paused_guest>();
    const auto starts = driver->starts();
    const auto create = [guest, name = driver->domain()](virConnectPtr c) {
        guest->start(c, name);
        return 0;
    };
    auto why = (co_await call_on(connection, create)).error;
    if (!why)
        why = co_await wait_until_attached(self, connection, driver, guest, starts);
    if (!why)
        why = co_await call_guest(connection, guest, &paused_guest::resume);
    if (why && guest->give_up()) {
        auto destroy = [guest](virConnectPtr) { guest->destroy(); };
        connection->async_call(
            std::make_shared<call<decltype(destroy)>>(std::move(destroy)), [](const error_code&, bool) {},
            nullptr);
    }
    co_return why;
}

} // namespace

void start_guest(
    const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection,
    std::shared_ptr<console_driver> driver, wait_handler handler, error_details* details)
{
    const auto operation = std::make_shared<start_operation>(executor);
    const auto perform = [connection = std::move(connection),
                          driver = std::move(driver)](std::shared_ptr<start_operation> self) {
        return start(std::move(self), connection, driver);
    };
    operation->launch(operation, std::move(handler), executor, details, perform);
}

} // namespace avirt::detail
