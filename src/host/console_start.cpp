// SPDX-License-Identifier: BSL-1.0
#include "host/console_start.hpp"

#include "connection/find_domain.hpp"
#include "core/coroutine_operation.hpp"
#include "core/fork_gate.hpp"
#include "host/console_driver.hpp"
#include "host/coroutines.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

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
        auto started = find_domain(connection, name);
        if (virDomainCreateWithFlags(started.get(), VIR_DOMAIN_START_PAUSED) < 0)
            throw_last_error();
        const std::lock_guard guard(mutex_);
        guest_ = domain(started.release());
        if (is_given_up_)
            virDomainDestroy(guest_.get());
    }

    int resume() const
    {
        return virDomainResume(guest_.get());
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
    bool is_given_up_ = false;
};

asio::awaitable<failure> wait_for(std::shared_ptr<console_broadcast> broadcast, console_states states)
{
    failure f;
    std::tie(f.code) = co_await await_operation<void(error_code)>([&](auto handler) {
        broadcast->async_wait_for(states, wait_handler(std::move(handler)), &f.details);
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

/// Waits until the console of a guest that has just been started is open.
asio::awaitable<failure> wait_until_attached(std::shared_ptr<console_driver> driver)
{
    using enum console_state;
    const auto broadcast = driver->broadcast();
    // The session hears of the start later, and is off until then.
    auto why = co_await wait_for(broadcast, console_states::all_but(off));
    if (!why && broadcast->state() == opening)
        why = co_await wait_for(broadcast, console_states::all_but(opening));
    const auto state = broadcast->state();
    if (!why && state != attached && state != paused && state != stalled)
        why = not_attached(*driver, state);
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
    const auto create = [guest, name = driver->domain()](virConnectPtr c) {
        guest->start(c, name);
        return 0;
    };
    auto why = (co_await call_on(connection, create)).error;
    if (!why)
        why = co_await wait_until_attached(driver);
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (!why && self->is_cancelled(cancellation))
        why = error_code(asio::error::operation_aborted);
    if (!why) {
        const auto resume = [guest](virConnectPtr) { return guest->resume(); };
        why = (co_await call_on(connection, resume)).error;
    }
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
