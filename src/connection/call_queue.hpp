// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "connection/authentication.hpp"
#include "core/pending_operation.hpp"
#include "core/worker_pool.hpp"
#include "loop/connection_socket.hpp"
#include "loop/deadline.hpp"

#include <avirt/detail/call.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <utility>

namespace avirt::detail {

/// Whose calls they are. Called on worker threads.
class call_owner
{
public:
    /// A function is about to be called on a connection of its own; false: nobody waits for it any more.
    virtual bool call_begins(std::uint64_t number) = 0;
    virtual void call_returned(std::uint64_t number, failure f) = 0;
    /// The connection's, found on the way to the function.
    virtual void socket_found(std::uint64_t number, const std::shared_ptr<connection_socket>& socket) = 0;
    /// A connection of a call's own is about to be opened.
    virtual void call_connects(std::uint64_t number, std::chrono::milliseconds time_limit) = 0;

protected:
    ~call_owner() = default;
};

/// The calls on one connection, each on a worker thread; one after the other where libvirt needs that
/// (docs/libvirt.md, "Threads"). Guarded by its owner's lock.
class call_queue
{
public:
    /// What may be sacrificed to free the threads of calls under way. unused_connection spares a connection
    /// that streams still use: the threads are freed once the last of them has ended.
    enum class cost { nothing, unused_connection, connection };

    /// What the calls are made on.
    struct target
    {
        virConnectPtr connection = nullptr;
        std::shared_ptr<connection_socket> socket{};
        std::shared_ptr<job_lane> lane{};
        bool seeks_socket = false; // of a connection that was opened elsewhere
    };

    /// The number of the next call.
    std::uint64_t next() const noexcept
    {
        return last_ + 1;
    }

    /// Takes a call in, for its owner to start. Returns its number.
    std::uint64_t add(
        std::shared_ptr<call_base> function, call_handler handler, const asio::any_io_executor& executor,
        error_details* details);
    /// Starts what may be started.
    void start(const std::shared_ptr<call_owner>& owner, const target& on);
    /// Starts a call on a connection that is opened for it.
    void start_alone(
        std::uint64_t number, const std::shared_ptr<call_owner>& owner,
        std::shared_ptr<const connect_options> options, const std::shared_ptr<job_lane>& lane);
    /// Starts a call beside the others.
    void start_beside(std::uint64_t number, const std::shared_ptr<call_owner>& owner, const target& on);

    /// @param time_is_over is called on the loop if the connection is not open by then.
    void connects(
        std::uint64_t number, std::chrono::milliseconds time_limit, std::function<void()> time_is_over);
    /// The time for its connection is over.
    void time_out(std::uint64_t number);
    bool begins(std::uint64_t number);
    /// False: nobody waits for the call any more.
    bool found_socket(std::uint64_t number, const std::shared_ptr<connection_socket>& socket);
    void returned(std::uint64_t number, failure f);
    void fail(std::uint64_t number, failure f);
    void cancel(std::uint64_t number, asio::cancellation_type type);

    /// The connection is another from now on: a call that does not return holds up nobody on it.
    void forget_order() noexcept
    {
        ordered_ = 0;
    }

    /// Fails those that have not begun.
    void fail_waiting(const failure& f);
    /// Completes all with operation_aborted.
    void abort_all(cost most);
    /// Frees the threads of the calls that were given up, because their connection is being closed.
    void abandon_given_up(cost most) noexcept;
    /// For a context that ends: all handlers, to be destroyed outside the lock.
    std::list<std::optional<pending_operation<void(error_code, bool)>::state>> take_all();

private:
    struct entry : pending_operation<void(error_code, bool)>
    {
        std::uint64_t number = 0;
        std::shared_ptr<call_base> function{};
        std::shared_ptr<worker_pool::job> job{};     // null: not begun
        std::shared_ptr<connection_socket> socket{}; // whose socket, shut down, frees its thread
        bool has_begun = false;                      // The function may have been called.
        std::optional<deadline> time_to_connect{};
        std::optional<worker_pool::queue_place> waits{std::in_place};
    };

    using iterator = std::list<entry>::iterator;

    static bool has(asio::cancellation_type types, asio::cancellation_type wanted) noexcept
    {
        return (types & wanted) != asio::cancellation_type::none;
    }

    iterator find(std::uint64_t number);
    bool submit(entry& c, const std::shared_ptr<call_owner>& owner, const target& on);
    bool submit(entry& c, std::function<void()> function, const std::shared_ptr<job_lane>& lane);
    bool withdraw(entry& c) noexcept;
    void abandon(entry& c, cost most = cost::connection) noexcept;
    void give_up(iterator c);

    std::list<entry> calls_;
    std::list<entry> given_up_; // They go on, and their handlers have been called.
    std::uint64_t last_ = 0;
    std::uint64_t ordered_ = 0; // the one that the others wait for, where calls must be ordered; 0: none
};

} // namespace avirt::detail
