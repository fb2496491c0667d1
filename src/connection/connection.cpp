// SPDX-License-Identifier: BSL-1.0
#include <avirt/connection.hpp>

#include "connection/call_queue.hpp"
#include "connection/close_wait.hpp"
#include "connection/connection_closing.hpp"
#include "connection/connection_opening.hpp"
#include "connection/connection_state.hpp"
#include "core/context_objects.hpp"
#include "core/pending_operation.hpp"
#include "core/release_queue.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_socket.hpp"
#include "loop/event_registry.hpp"

#include <mutex>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

/// Locks, checks whether an operation may be started, and passes it on to the part that performs it.
class connection_impl_object final : public connection_impl, public context_object
{
public:
    explicit connection_impl_object(const asio::any_io_executor& executor)
        : state_(std::make_shared<connection_state>(executor))
    {
    }

    ~connection_impl_object() override
    {
        close();
        // Jobs that have not returned own the state, and may outlive the context.
        const std::lock_guard guard(state_->mutex);
        state_->executor = {};
    }

    virConnectPtr add_reference() const noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        if (state_->connection)
            virConnectRef(state_->connection);
        return state_->connection;
    }

    virConnectPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        return state_->connection;
    }

    bool is_in_process() const noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        return state_->is_in_process();
    }

    std::shared_ptr<const connect_options> reopen_options() const override
    {
        const std::lock_guard guard(state_->mutex);
        return state_->reopen_options();
    }

    std::shared_ptr<connection_socket> socket() const override
    {
        const std::lock_guard guard(state_->mutex);
        return state_->is_remote() ? state_->socket : nullptr;
    }

    std::shared_ptr<job_lane> lane() const override
    {
        const std::lock_guard guard(state_->mutex);
        return state_->lane;
    }

    void adopt(virConnectPtr connection) override
    {
        const std::lock_guard guard(state_->mutex);
        state_->adopt(connection);
    }

    virConnectPtr release() override
    {
        const std::lock_guard guard(state_->mutex);
        abort_operations(interruption::never);
        calls_->free_detached(interruption::never);
        wait_->abort();
        if (state_->socket)
            close_deadline::instance().share(state_->socket);
        calls_->forget_connection();
        return state_->release();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        abort_operations(interruption::always);
        wait_->abort();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        abort_operations(interruption::if_unused);
        wait_->abort();
        calls_->free_detached(interruption::if_unused);
        close_connection();
    }

    void close_lost(const failure& why) noexcept override
    {
        const std::lock_guard guard(state_->mutex);
        calls_->fail_unstarted(why);
        wait_->complete_if_lost();
        wait_->complete_closed(); // The connection was given up for another reason.
        close_connection();
        state_->why_not_open = why.details;
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(state_->mutex);
        const auto open = opening_->take_handler();
        const auto close = closing_->take_handler();
        const auto wait_closed = wait_->take_handler();
        const auto calls = calls_->take_handlers();
        state_->executor = {};
        held.unlock(); // The handlers are destroyed outside the lock: they may own this connection.
    }

    void async_open(open_options options, wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(state_->mutex);
        if (!state_->executor)
            return; // The context has ended: no handler can be called any more.
        const auto refused = opening_->is_pending() || closing_->is_pending() ? error::operation_in_progress
            : state_->connection                                              ? error::already_open
            : !event_registry::instance().is_bound()                          ? error::no_event_loop
                                                                              : error{};
        if (refused != error{})
            return complete_now(state_->executor, std::move(handler), details, refused);
        opening_->start(std::move(options), std::move(handler), details);
    }

    void async_close(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(state_->mutex);
        if (!state_->executor)
            return;
        if (!state_->connection)
            return complete_now(
                state_->executor, std::move(handler), details,
                closing_->is_pending() ? error::operation_in_progress : error::not_open);
        auto job = closing_->make_job(); // First: if there is no memory for it, nothing has changed.
        abort_operations(interruption::if_unused);
        calls_->free_detached(interruption::if_unused);
        calls_->forget_connection();
        closing_->start(std::move(job), std::move(handler), details);
    }

    void async_call(
        std::shared_ptr<call_base> function, call_handler handler, error_details* details) override
    {
        const std::lock_guard guard(state_->mutex);
        calls_->call(std::move(function), std::move(handler), details);
    }

    void async_own_call(
        std::shared_ptr<call_base> function, call_handler handler, error_details* details) override
    {
        const std::lock_guard guard(state_->mutex);
        calls_->call_on_own_connection(std::move(function), std::move(handler), details);
    }

    void async_wait_closed(closed_handler handler, error_details* details) override
    {
        const std::lock_guard guard(state_->mutex);
        if (!state_->executor)
            return;
        const auto refused = wait_->is_pending() ? error::operation_in_progress
            : !state_->connection                ? error::not_open
                                                 : error{};
        if (refused != error{})
            return complete_now(state_->executor, std::move(handler), details, refused, {});
        wait_->start(std::move(handler), details);
    }

    void add_user(std::weak_ptr<connection_user> user) override
    {
        const std::lock_guard guard(state_->mutex);
        std::erase_if(users_, [](const auto& u) { return u.expired(); });
        users_.push_back(std::move(user));
    }

private:
    /// Aborts all operations but the wait for the end.
    void abort_operations(interruption allowed) noexcept
    {
        opening_->abort();
        closing_->abort();
        calls_->abort(allowed);
        for (const auto& weak : std::exchange(users_, {})) {
            if (const auto user = weak.lock())
                user->abort();
        }
    }

    void close_connection() noexcept
    {
        calls_->forget_connection();
        if (virConnectPtr connection = state_->release())
            close_later(connection);
    }

    const std::shared_ptr<connection_state> state_;
    const std::shared_ptr<call_queue> calls_ = std::make_shared<call_queue>(state_);
    const std::shared_ptr<close_wait> wait_ = std::make_shared<close_wait>(state_, calls_);
    const std::shared_ptr<connection_opening> opening_ = std::make_shared<connection_opening>(state_, wait_);
    const std::shared_ptr<connection_closing> closing_ = std::make_shared<connection_closing>(state_, wait_);
    std::vector<std::weak_ptr<connection_user>> users_;
};

} // namespace

connection_impl::~connection_impl() = default;

std::shared_ptr<connection_impl> connection_impl::make(const asio::any_io_executor& executor)
{
    auto object = std::make_shared<connection_impl_object>(executor);
    context_objects::of(executor)->add(object);
    return object;
}

} // namespace avirt::detail
