// SPDX-License-Identifier: BSL-1.0
#include <avirt/connection.hpp>

#include "connection/call_queue.hpp"
#include "connection/open.hpp"
#include "core/context_objects.hpp"
#include "core/fork_gate.hpp"
#include "core/pending_operation.hpp"
#include "core/release_queue.hpp"
#include "core/worker_pool.hpp"
#include "loop/close_deadline.hpp"
#include "loop/connection_socket.hpp"
#include "loop/connection_use.hpp"
#include "loop/deadline.hpp"
#include "loop/event_registry.hpp"
#include "loop/socket_monitor.hpp"

#include <boost/asio/error.hpp>

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

close_reason reason_of(const connection_socket& socket) noexcept
{
    switch (socket.ended_by) {
    case connection_socket::end::peer:
        return close_reason::eof;
    case connection_socket::end::silence:
        return close_reason::keepalive;
    case connection_socket::end::interrupted:
        return close_reason::client;
    default:
        return close_reason::error;
    }
}

class connection_impl_object final : public connection_impl,
                                     public call_owner,
                                     public context_object,
                                     public socket_observer,
                                     public std::enable_shared_from_this<connection_impl_object>
{
public:
    explicit connection_impl_object(const asio::any_io_executor& executor) : executor_(executor) {}

    ~connection_impl_object() override
    {
        close();
    }

    virConnectPtr add_reference() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        if (connection_)
            virConnectRef(connection_);
        return connection_;
    }

    virConnectPtr native_handle() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return connection_;
    }

    bool is_in_process() const noexcept override
    {
        const std::lock_guard guard(mutex_);
        return is_in_process_locked();
    }

    std::shared_ptr<const connect_options> reopen_options() const override
    {
        const std::lock_guard guard(mutex_);
        return reopen_options_locked();
    }

    std::shared_ptr<connection_socket> socket() const override
    {
        const std::lock_guard guard(mutex_);
        return socket_ && socket_->is_remote ? socket_ : nullptr;
    }

    std::shared_ptr<job_lane> lane() const override
    {
        const std::lock_guard guard(mutex_);
        return lane_;
    }

    void adopt(virConnectPtr connection) override
    {
        const std::lock_guard guard(mutex_);
        socket_ = std::make_shared<connection_socket>(); // It finds its socket by the first call.
        connection_ = connection;
        use_ = connection_use(socket_);
    }

    virConnectPtr release() override
    {
        const std::lock_guard guard(mutex_);
        abort_operations(call_queue::cost::nothing);
        calls_.abandon_given_up(call_queue::cost::nothing);
        wait_closed_.complete(aborted, close_reason::client);
        if (socket_)
            close_deadline::instance().share(socket_);
        return give_up_locked();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all(call_queue::cost::connection);
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all(call_queue::cost::unused_connection);
        calls_.abandon_given_up(call_queue::cost::unused_connection);
        close_connection();
    }

    void close_lost(const failure& why) noexcept override
    {
        const std::lock_guard guard(mutex_);
        calls_.fail_waiting(why);
        if (wait_closed_)
            see_whether_lost();
        wait_closed_.complete({}, close_reason::client); // It was discarded for another reason.
        close_connection();
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto open = open_.take();
        const auto close = close_.take();
        const auto wait_closed = wait_closed_.take();
        abandon_open();
        closing_use_.end();
        const auto calls = calls_.take_all();
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
            return complete_now(executor_, std::move(handler), details, refused);
        const auto number = open_.number() + 1;
        const auto known = std::make_shared<connect_options>(std::move(options));
        const auto socket = std::make_shared<connection_socket>();
        socket->uri = known->uri;
        auto lane = std::make_shared<job_lane>(); // What may be stuck in the old one concerns another daemon.
        auto job = worker_pool::instance().make(
            [self = shared_from_this(), known, socket, number] {
                self->open_on_worker(*known, socket, number);
            },
            lane);
        time_to_open_.emplace(known->timeout, [weak = weak_from_this(), number] {
            if (const auto self = weak.lock())
                self->open_takes_too_long(number);
        });
        on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_open(number);
        });
        open_.start(std::move(handler), executor_, details);
        options_ = known;
        socket_ = socket;
        lane_ = std::move(lane);
        open_job_ = std::move(job);
        if (const auto no_thread = worker_pool::instance().submit(open_job_))
            end_open(no_thread);
    }

    void async_close(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        if (!connection_)
            return complete_now(
                executor_, std::move(handler), details,
                close_ ? error::operation_in_progress : error::not_open);
        const auto number = close_.number() + 1;
        const auto job = worker_pool::instance().make(
            [self = shared_from_this(), connection = connection_, socket = socket_, number] {
                const closing_scope scope(socket);
                self->closed(number, virConnectClose(connection) < 0 ? last_failure() : failure());
            });
        abort_operations(call_queue::cost::unused_connection);
        calls_.abandon_given_up(call_queue::cost::unused_connection);
        on_cancel(handler, [weak = weak_from_this(), number](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_close(number);
        });
        close_.start(std::move(handler), executor_, details);
        closing_socket_ = socket_;
        closing_use_ = std::move(use_);
        give_up_locked();
        if (const auto no_thread = worker_pool::instance().submit(job)) // It is closed later.
            end_close(no_thread);
    }

    void async_call(
        std::shared_ptr<call_base> function, call_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (add_call(std::move(function), std::move(handler), details))
            start_calls();
    }

    void async_own_call(
        std::shared_ptr<call_base> function, call_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        const auto number = add_call(std::move(function), std::move(handler), details);
        if (!number)
            return;
        if (auto options = reopen_options_locked())
            calls_.start_alone(*number, shared_from_this(), std::move(options), lane_);
        else if (is_in_process_locked()) // There, nothing is lost between threads.
            calls_.start_beside(*number, shared_from_this(), {connection_, socket_, lane_});
        else
            start_calls();
    }

    void async_wait_closed(closed_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        const auto refused = wait_closed_ ? error::operation_in_progress
            : !connection_                ? error::not_open
                                          : error{};
        if (refused != error{})
            return complete_now(executor_, std::move(handler), details, refused, {});
        on_cancel(handler, [weak = weak_from_this(), n = wait_closed_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_wait_closed(n);
        });
        wait_closed_.start(std::move(handler), executor_, details);
        if (seeks_socket())
            find_socket_later();
        else
            see_whether_lost();
    }

    void add_user(std::weak_ptr<connection_user> user) override
    {
        const std::lock_guard guard(mutex_);
        std::erase_if(users_, [](const auto& u) { return u.expired(); });
        users_.push_back(std::move(user));
    }

private:
    bool is_in_process_locked() const noexcept
    {
        return options_ && socket_ && !socket_->is_remote;
    }

    std::shared_ptr<const connect_options> reopen_options_locked() const
    {
        return connection_ && socket_ && socket_->is_remote ? options_ : nullptr;
    }

    virConnectPtr give_up_locked() noexcept
    {
        use_.end();
        socket_.reset();
        options_.reset();
        calls_.forget_order();
        return std::exchange(connection_, nullptr);
    }

    void close_connection() noexcept
    {
        if (virConnectPtr connection = give_up_locked())
            close_later(connection);
    }

    static void interrupt(const std::shared_ptr<connection_socket>& socket) noexcept
    {
        if (socket)
            socket_monitor::instance().interrupt(*socket);
    }

    /// Frees the thread, or leaves it alone where libvirt has not told of a socket yet.
    void abandon_open() noexcept
    {
        time_to_open_.reset();
        if (open_job_ && !worker_pool::instance().abandon(std::exchange(open_job_, nullptr)))
            interrupt(socket_);
    }

    void abort_open() noexcept
    {
        open_.complete(aborted);
        abandon_open();
    }

    void abort_operations(call_queue::cost most) noexcept
    {
        abort_open();
        if (close_)
            abort_close();
        calls_.abort_all(most);
        for (const auto& weak : std::exchange(users_, {})) {
            if (const auto user = weak.lock())
                user->abort();
        }
    }

    void abort_all(call_queue::cost most) noexcept
    {
        abort_operations(most);
        wait_closed_.complete(aborted, close_reason::client);
    }

    void open_on_worker(
        const connect_options& options, const std::shared_ptr<connection_socket>& socket,
        std::uint64_t number)
    {
        failure f;
        virConnectPtr opened = connect(options, socket, f);
        {
            const std::lock_guard guard(mutex_);
            if (open_ && open_.number() == number) {
                connection_ = std::exchange(opened, nullptr);
                if (connection_) {
                    socket_monitor::instance().observe(*socket, weak_from_this());
                    use_ = connection_use(socket);
                }
                end_open(std::move(f));
            }
        }
        if (opened) // Nobody waits for it any more.
            close_now(opened);
    }

    void end_open(failure f)
    {
        time_to_open_.reset();
        open_job_.reset();
        open_.complete(std::move(f));
    }

    void open_takes_too_long(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (open_.number() != number || !open_)
            return;
        open_.complete(open_timed_out());
        abandon_open();
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
        abort_close();
        wait_closed_.complete({}, close_reason::client);
    }

    /// If it waits for its daemon, that ends here; if it comes to that later, it has a second.
    void abort_close() noexcept
    {
        close_.complete(aborted);
        closing_use_.end();
        socket_monitor::instance().interrupt_closing(*std::exchange(closing_socket_, nullptr));
    }

    void closed(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (close_.number() == number && close_)
            end_close(std::move(f));
    }

    void end_close(failure f)
    {
        closing_socket_.reset();
        closing_use_.end();
        close_.complete(std::move(f));
        wait_closed_.complete({}, close_reason::client);
    }

    /// Returns the call's number, if it may be started.
    std::optional<std::uint64_t> add_call(
        std::shared_ptr<call_base> function, call_handler&& handler, error_details* details)
    {
        if (!executor_) // And whoever has the handler ends it, outside the lock.
            return std::nullopt;
        if (connection_)
            on_cancel(handler, [weak = weak_from_this(), n = calls_.next()](asio::cancellation_type type) {
                if (const auto self = weak.lock())
                    self->cancel_call(n, type);
            });
        const auto number = calls_.add(std::move(function), std::move(handler), executor_, details);
        if (connection_)
            return number;
        calls_.fail(number, error::not_open);
        return std::nullopt;
    }

    void start_calls()
    {
        calls_.start(shared_from_this(), {connection_, socket_, lane_, seeks_socket()});
    }

    void call_connects(std::uint64_t number, std::chrono::milliseconds time_limit) override
    {
        const std::lock_guard guard(mutex_);
        calls_.connects(number, time_limit, [weak = weak_from_this(), number] {
            if (const auto self = weak.lock())
                self->call_takes_too_long(number);
        });
    }

    void call_takes_too_long(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        calls_.time_out(number);
        start_calls();
    }

    bool call_begins(std::uint64_t number) override
    {
        const std::lock_guard guard(mutex_);
        return calls_.begins(number);
    }

    void call_returned(std::uint64_t number, failure f) override
    {
        const std::lock_guard guard(mutex_);
        calls_.returned(number, std::move(f));
        start_calls();
    }

    void socket_found(std::uint64_t number, const std::shared_ptr<connection_socket>& socket) override
    {
        const std::lock_guard guard(mutex_);
        if (!calls_.found_socket(number, socket))
            return;
        use_ = connection_use(socket);
        socket_ = socket;
    }

    void cancel_call(std::uint64_t number, asio::cancellation_type type)
    {
        const std::lock_guard guard(mutex_);
        calls_.cancel(number, type);
        start_calls();
    }

    void cancel_wait_closed(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (wait_closed_.number() == number)
            wait_closed_.complete(aborted, close_reason::client);
    }

    /// Nothing would ever tell it.
    void fail_wait_closed(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (wait_closed_.number() == number)
            wait_closed_.complete(unwatched_failure(), close_reason::error);
    }

    /// Opened elsewhere, and nothing is known of its socket yet.
    bool seeks_socket() const noexcept
    {
        return connection_ && !options_ && !socket_->is_remote;
    }

    void find_socket_later()
    {
        class no_call final : public call_base
        {
            bool is_internal() const noexcept override
            {
                return true;
            }

            bool needs_watched_socket() const noexcept override
            {
                return true;
            }

            failure run(virConnectPtr) noexcept override
            {
                return {};
            }
        };
        add_call(
            std::make_shared<no_call>(),
            [weak = weak_from_this(), n = wait_closed_.number()](const error_code& ec, bool) {
                const auto self = weak.lock();
                if (!self)
                    return;
                if (ec == error::no_event_loop)
                    self->fail_wait_closed(n);
                else
                    self->on_lost();
            },
            nullptr);
        start_calls();
    }

    void see_whether_lost()
    {
        if (!socket_ || !socket_->is_remote)
            return;
        socket_monitor::instance().observe(*socket_, weak_from_this()); // First: it may end meanwhile.
        if (socket_->fd < 0)
            wait_closed_.complete({}, reason_of(*socket_));
    }

    void on_lost() override
    {
        const std::lock_guard guard(mutex_);
        if (wait_closed_ && !close_)
            see_whether_lost();
    }

    mutable fork_safe_mutex mutex_;
    asio::any_io_executor executor_;
    virConnectPtr connection_ = nullptr;
    std::shared_ptr<const connect_options> options_; // null where the connection was opened elsewhere
    std::shared_ptr<connection_socket> socket_;
    connection_use use_; // while it is open
    std::shared_ptr<job_lane> lane_ = std::make_shared<job_lane>();
    std::shared_ptr<connection_socket> closing_socket_; // of the connection that async_close() is closing
    connection_use closing_use_;
    pending_operation<void(error_code)> open_;
    std::optional<deadline> time_to_open_;
    std::shared_ptr<worker_pool::job> open_job_;
    pending_operation<void(error_code)> close_;
    pending_operation<void(error_code, close_reason)> wait_closed_;
    call_queue calls_;
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
