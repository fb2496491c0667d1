// SPDX-License-Identifier: BSL-1.0
#include <avirt/connection.hpp>

#include "connect.hpp"
#include "connection_link.hpp"
#include "connection_reference.hpp"
#include "context_service.hpp"
#include "event_registry.hpp"
#include "pending.hpp"
#include "worker_pool.hpp"

#include <boost/asio/error.hpp>

#include <list>
#include <mutex>

namespace avirt::detail {
namespace {

/// Older clients lose a wake-up when two threads use one connection (docs/libvirt.md, "Threads").
bool calls_must_be_ordered()
{
    static const bool ordered = [] {
        unsigned long version = 0;
        return virGetVersion(&version, nullptr, nullptr) < 0 || version < 10004000;
    }();
    return ordered;
}

class connection_impl_object final : public connection_impl,
                                     public context_object,
                                     public std::enable_shared_from_this<connection_impl_object>
{
public:
    explicit connection_impl_object(const asio::any_io_executor& executor) : executor_(executor) {}

    ~connection_impl_object() override
    {
        close();
    }

    virConnectPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return connection_;
    }

    bool is_in_process() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return link_ && !link_->is_remote;
    }

    std::optional<open_options> reopen_options() const override
    {
        const std::lock_guard guard(mutex_);
        if (!connection_ || !link_ || !link_->is_remote)
            return std::nullopt;
        return options_;
    }

    std::shared_ptr<connection_link> link() const override
    {
        const std::lock_guard guard(mutex_);
        return link_ && link_->is_remote ? link_ : nullptr;
    }

    void adopt(virConnectPtr connection) override
    {
        const std::lock_guard guard(mutex_);
        connection_ = connection;
    }

    virConnectPtr release() override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
        return give_up_locked();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
    }

    void close() noexcept override
    {
        std::shared_ptr<connection_link> link;
        virConnectPtr connection = nullptr;
        {
            const std::lock_guard guard(mutex_);
            abort_all();
            link = std::move(link_);
            connection = give_up_locked();
        }
        if (!connection)
            return;
        worker_pool::instance().submit(
            [connection, link] {
                std::optional<closing_patience> patience;
                if (link && link->is_remote)
                    patience.emplace(link);
                virConnectClose(connection);
            },
            worker_pool::place::urgent);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto open = open_.take();
        const auto close = close_.take();
        abandon(open_job_, link_);
        for (auto& c : calls_)
            abandon_call(c);
        const auto calls = std::exchange(calls_, {});
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very connection.
    }

    void async_open(open_options options, wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
        const auto refused = open_ || close_         ? error::operation_in_progress
            : connection_                            ? error::already_open
            : !event_registry::instance().is_bound() ? error::no_event_loop
                                                     : error{};
        if (refused != error{})
            return complete_now(std::move(handler), details, refused);
        on_cancel(handler, [weak = weak_from_this(), n = open_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_open(n);
        });
        open_.start(std::move(handler), executor_, details);
        options_ = std::move(options);
        link_ = std::make_shared<connection_link>();
        link_->uri = options_.uri;
        open_job_ =
            worker_pool::instance().submit([self = shared_from_this(), options = options_, link = link_,
                                            n = open_.number()] { self->open_on_worker(options, link, n); });
    }

    void async_close(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        if (!connection_)
            return complete_now(
                std::move(handler), details, close_ ? error::operation_in_progress : error::not_open);
        abort_all();
        on_cancel(handler, [weak = weak_from_this(), n = close_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_close(n);
        });
        close_.start(std::move(handler), executor_, details);
        closing_link_ = link_;
        worker_pool::instance().submit(
            [self = shared_from_this(), connection = give_up_locked(), n = close_.number()] {
                self->closed(n, virConnectClose(connection) < 0 ? last_failure() : failure());
            },
            worker_pool::place::urgent);
    }

    void async_call(
        std::shared_ptr<call_base> function, call_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        auto& c = calls_.emplace_back();
        c.number = ++last_call_;
        c.function = std::move(function);
        if (connection_)
            on_cancel(handler, [weak = weak_from_this(), n = c.number](asio::cancellation_type type) {
                if (const auto self = weak.lock())
                    self->cancel_call(n, type);
            });
        c.start(std::move(handler), executor_, details);
        if (connection_)
            return start_calls();
        c.complete(error::not_open, false);
        calls_.pop_back();
    }

private:
    struct pending_call : pending<void(error_code, bool)>
    {
        std::uint64_t number = 0;
        std::shared_ptr<call_base> function{};
        std::shared_ptr<worker_pool::job> job{}; // null: not begun
    };

    void complete_now(wait_handler handler, error_details* details, failure f)
    {
        pending<void(error_code)> p;
        p.start(std::move(handler), executor_, details);
        p.complete(std::move(f));
    }

    virConnectPtr give_up_locked() noexcept
    {
        link_.reset();
        ordered_call_ = 0; // One that does not return holds up nobody on the next connection.
        return std::exchange(connection_, nullptr);
    }

    static void interrupt(const std::shared_ptr<connection_link>& link) noexcept
    {
        if (link)
            event_registry::instance().interrupt(*link);
    }

    /// Returns whether the job had not begun. Otherwise its thread is freed at the cost of the connection, or
    /// left alone where libvirt has not told of a socket yet.
    static bool abandon(
        std::shared_ptr<worker_pool::job>& job, const std::shared_ptr<connection_link>& link) noexcept
    {
        if (!job)
            return false;
        const bool was_dropped = worker_pool::instance().abandon(std::exchange(job, nullptr));
        if (!was_dropped)
            interrupt(link);
        return was_dropped;
    }

    void abandon_call(pending_call& c) noexcept
    {
        if (abandon(c.job, link_)) // It will never say that it has ended.
            ordered_call_ = 0;
    }

    void abort_open() noexcept
    {
        open_.complete(error_code(asio::error::operation_aborted));
        abandon(open_job_, link_);
    }

    void abort_all() noexcept
    {
        const error_code aborted = asio::error::operation_aborted;
        abort_open();
        if (close_)
            interrupt(closing_link_);
        close_.complete(aborted);
        for (auto& c : calls_) {
            abandon_call(c);
            c.complete(aborted, false);
        }
        calls_.clear();
    }

    void open_on_worker(
        const open_options& options, const std::shared_ptr<connection_link>& link, std::uint64_t number)
    {
        virConnectPtr opened = connect(options, link);
        failure f;
        if (!opened)
            f = last_failure();
        {
            const std::lock_guard guard(mutex_);
            if (open_ && open_.number() == number) {
                connection_ = std::exchange(opened, nullptr);
                open_job_.reset();
                open_.complete(std::move(f));
            }
        }
        if (opened) // Nobody waits for it any more.
            virConnectClose(opened);
    }

    void cancel_open(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (open_.number() == number)
            abort_open();
    }

    void cancel_close(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (close_.number() != number || !close_)
            return;
        close_.complete(error_code(asio::error::operation_aborted));
        interrupt(closing_link_);
    }

    void closed(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (close_.number() != number)
            return;
        close_.complete(std::move(f));
        closing_link_.reset();
    }

    void start_calls()
    {
        for (auto& c : calls_) {
            if (ordered_call_ != 0 || !connection_)
                return;
            if (c.job)
                continue;
            ordered_call_ = calls_must_be_ordered() ? c.number : 0;
            c.job = worker_pool::instance().submit([self = shared_from_this(), function = c.function,
                                                    connection = connection_reference(connection_),
                                                    link = link_, n = c.number]() mutable {
                const naming_scope naming(std::move(link));
                auto f = function->run(connection.get());
                connection.drop();
                self->called(n, std::move(f));
            });
        }
    }

    void called(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (ordered_call_ == number)
            ordered_call_ = 0;
        for (auto it = calls_.begin(); it != calls_.end(); ++it) {
            if (it->number == number) {
                it->complete(std::move(f), true);
                calls_.erase(it);
                break;
            }
        }
        start_calls();
    }

    void cancel_call(std::uint64_t number, asio::cancellation_type type)
    {
        const std::lock_guard guard(mutex_);
        for (auto it = calls_.begin(); it != calls_.end(); ++it) {
            if (it->number != number)
                continue;
            if (it->job && worker_pool::instance().withdraw(it->job)) {
                it->job.reset();
                ordered_call_ = 0;
            }
            const bool terminal = (type & asio::cancellation_type::terminal) != asio::cancellation_type::none;
            if (it->job && !terminal)
                return;
            abandon_call(*it);
            it->complete(error_code(asio::error::operation_aborted), false);
            calls_.erase(it);
            start_calls();
            return;
        }
    }

    mutable std::mutex mutex_;
    asio::any_io_executor executor_;
    virConnectPtr connection_ = nullptr;
    open_options options_;
    std::shared_ptr<connection_link> link_;         // null where the connection was opened elsewhere
    std::shared_ptr<connection_link> closing_link_; // of the connection that async_close() is closing
    pending<void(error_code)> open_;
    std::shared_ptr<worker_pool::job> open_job_;
    pending<void(error_code)> close_;
    std::list<pending_call> calls_;
    std::uint64_t last_call_ = 0;
    std::uint64_t ordered_call_ = 0; // the one that the others wait for, where calls must be ordered; 0: none
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
