// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/token_adapter.hpp>

#include <boost/asio/cancellation_type.hpp>

#include <chrono>
#include <utility>

#if BOOST_ASIO_VERSION >= 103200

#include <boost/asio/cancel_after.hpp>

namespace avirt::detail {

template <class Token>
auto make_cancel_after(
    std::chrono::steady_clock::duration timeout, asio::cancellation_type type, Token&& token)
{
    return asio::cancel_after(timeout, type, std::forward<Token>(token));
}

} // namespace avirt::detail

#else

#include <avirt/detail/handler_adapter.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>

namespace avirt::detail {

/// An operation and its timer. The handlers of both share this object; the one that is called last invokes
/// the application's handler.
template <class Handler, class Executor, class Signature>
class timed_operation;

/// The completion handler of the operation.
template <class Operation>
class timed_handler
{
public:
    using adapted_handler_type = typename Operation::handler_type;
    using cancellation_slot_type = asio::cancellation_slot;

    explicit timed_handler(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}

    cancellation_slot_type get_cancellation_slot() const noexcept
    {
        return operation_->slot();
    }

    const typename Operation::handler_type& handler() const noexcept
    {
        return operation_->handler();
    }

    template <class... Args>
    void operator()(Args&&... args)
    {
        Operation::on_operation_done(std::move(operation_), std::forward<Args>(args)...);
    }

private:
    std::shared_ptr<Operation> operation_;
};

/// The completion handler of the timer.
template <class Operation>
class timer_handler
{
public:
    using adapted_handler_type = typename Operation::handler_type;
    using cancellation_slot_type =
        asio::cancellation_slot; // None: the application's does not cancel the timer.

    explicit timer_handler(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}

    cancellation_slot_type get_cancellation_slot() const noexcept
    {
        return {};
    }

    const typename Operation::handler_type& handler() const noexcept
    {
        return operation_->handler();
    }

    void operator()(error_code)
    {
        Operation::on_timer_done(std::move(operation_));
    }

private:
    std::shared_ptr<Operation> operation_;
};

template <class Handler, class Executor, class... Results>
class timed_operation<Handler, Executor, void(Results...)>
{
public:
    using handler_type = Handler;

    timed_operation(Handler handler, const Executor& executor, asio::cancellation_type type)
        : handler_(std::move(handler)),
          timer_(executor),
          type_(type)
    {
    }

    /// Launches the operation as launch(handler).
    template <class Launch>
    static void start(
        std::shared_ptr<timed_operation> self, std::chrono::steady_clock::duration timeout, Launch launch)
    {
        auto parent = asio::get_associated_cancellation_slot(self->handler_);
        if (parent.is_connected()) {
            // Weak, because the slot outlives an operation that is destroyed together with its context.
            parent.assign([weak = std::weak_ptr(self)](asio::cancellation_type type) {
                if (const auto operation = weak.lock())
                    operation->signal_.emit(type);
            });
        }
        self->timer_.expires_after(timeout);
        self->timer_.async_wait(timer_handler<timed_operation>(self));
        try {
            launch(timed_handler<timed_operation>(self));
        }
        catch (...) {
            self->timer_.cancel();
            throw;
        }
    }

    template <class... Args>
    static void on_operation_done(std::shared_ptr<timed_operation> self, Args&&... args)
    {
        self->result_.emplace(std::forward<Args>(args)...);
        if (self->is_timer_pending_)
            self->timer_.cancel();
        else
            complete(std::move(self));
    }

    static void on_timer_done(std::shared_ptr<timed_operation> self)
    {
        self->is_timer_pending_ = false;
        if (self->result_)
            complete(std::move(self));
        else
            self->signal_.emit(self->type_);
    }

    asio::cancellation_slot slot() noexcept
    {
        return signal_.slot();
    }

    const Handler& handler() const noexcept
    {
        return handler_;
    }

private:
    static void complete(std::shared_ptr<timed_operation> self)
    {
        auto parent = asio::get_associated_cancellation_slot(self->handler_);
        if (parent.is_connected())
            parent.clear();
        // Asio guarantees that an operation's memory has been freed when its handler is invoked.
        auto handler = std::move(self->handler_);
        auto result = std::move(*self->result_);
        self.reset();
        std::apply(std::move(handler), std::move(result));
    }

    Handler handler_;
    asio::basic_waitable_timer<
        std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>
        timer_;
    asio::cancellation_signal signal_;
    asio::cancellation_type type_;
    bool is_timer_pending_ = true;
    std::optional<std::tuple<std::decay_t<Results>...>> result_;
};

template <class Initiation>
concept adapts_initiation = !tells_executor<Initiation> && requires(const Initiation& initiation)
{
    initiation.initiation_;
};

/// Beast passes a pointer to the stream of an HTTP operation to the initiation.
template <class Argument>
concept points_to_stream = requires(const Argument& argument)
{
    (*argument).get_executor();
};

/// Beast passes a pointer to the implementation of a WebSocket to the initiation.
template <class Argument>
concept points_to_websocket = requires(const Argument& argument)
{
    (*argument).stream().get_executor();
};

/// The executor of the operation that is launched with this object, an initiation or an argument. Before
/// Boost 1.86 the initiations of Asio's own adapters do not have it: it is taken from the initiation that
/// they adapt. Those of Beast do not have it either: it is taken from their arguments.
template <class Initiation>
struct initiation_executor
{
    static constexpr bool is_known = false;
};

template <tells_executor Initiation>
struct initiation_executor<Initiation>
{
    static constexpr bool is_known = true;

    static auto get(const Initiation& initiation) noexcept
    {
        return initiation.get_executor();
    }
};

template <adapts_initiation Initiation>
struct initiation_executor<Initiation>
    : initiation_executor<std::decay_t<decltype(std::declval<const Initiation&>().initiation_)>>
{
    using adapted = std::decay_t<decltype(std::declval<const Initiation&>().initiation_)>;

    static auto get(const Initiation& initiation) noexcept
    {
        return initiation_executor<adapted>::get(initiation.initiation_);
    }
};

template <points_to_stream Argument>
struct initiation_executor<Argument>
{
    static constexpr bool is_known = true;

    static auto get(const Argument& argument) noexcept
    {
        return (*argument).get_executor();
    }
};

template <points_to_websocket Argument>
struct initiation_executor<Argument>
{
    static constexpr bool is_known = true;

    static auto get(const Argument& argument) noexcept
    {
        return (*argument).stream().get_executor();
    }
};

/// For the initiation that Asio's completion token concept uses, which is compiled but never launched.
struct no_executor
{
};

template <class... Signatures>
struct initiation_executor<asio::detail::initiation_archetype<Signatures...>>
{
    static constexpr bool is_known = true;

    static no_executor get(const asio::detail::initiation_archetype<Signatures...>&) noexcept
    {
        return {};
    }
};

/// The executor of the operation that is launched with this initiation and these arguments. redirect_error of
/// Boost 1.82 to 1.85 passes the operation's initiation as an argument, too.
template <class Initiation, class... Args>
auto operation_executor(const Initiation& initiation, const Args&... args)
{
    if constexpr (initiation_executor<Initiation>::is_known) {
        return initiation_executor<Initiation>::get(initiation);
    }
    else {
        static_assert(
            sizeof...(Args) > 0, "an operation that does not tell its executor cannot have a timeout");
        return operation_executor(args...);
    }
}

template <class Initiation, class Signature>
class cancel_after_initiation : public adapter_initiation<Initiation>
{
public:
    cancel_after_initiation(
        Initiation initiation, std::chrono::steady_clock::duration timeout, asio::cancellation_type type)
        : adapter_initiation<Initiation>(std::move(initiation)),
          timeout_(timeout),
          type_(type)
    {
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) &&
    {
        start(std::move(this->initiation_), std::forward<Handler>(handler), std::forward<Args>(args)...);
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const&
    {
        start(this->initiation_, std::forward<Handler>(handler), std::forward<Args>(args)...);
    }

private:
    template <class I, class Handler, class... Args>
    void start(I&& initiation, Handler&& handler, Args&&... args) const
    {
        using io_executor = decltype(operation_executor(initiation, args...));
        if constexpr (!std::is_same_v<io_executor, no_executor>) {
            using operation = timed_operation<std::decay_t<Handler>, io_executor, Signature>;
            const auto executor = operation_executor(initiation, args...);
            const auto allocator = asio::get_associated_allocator(handler);
            operation::start(
                std::allocate_shared<operation>(allocator, std::forward<Handler>(handler), executor, type_),
                timeout_, [&](auto timed) {
                    call_initiation(
                        std::forward<I>(initiation), std::move(timed), std::forward<Args>(args)...);
                });
        }
    }

    std::chrono::steady_clock::duration timeout_;
    asio::cancellation_type type_;
};

template <class Token>
class cancel_after_token : public adapter<Token>
{
public:
    cancel_after_token(Token token, std::chrono::steady_clock::duration timeout, asio::cancellation_type type)
        : adapter<Token>(std::move(token)),
          timeout_(timeout),
          type_(type)
    {
    }

    template <class Signature, class Initiation>
    auto adapt(Initiation&& initiation) const
    {
        return cancel_after_initiation<std::decay_t<Initiation>, Signature>(
            std::forward<Initiation>(initiation), timeout_, type_);
    }

private:
    std::chrono::steady_clock::duration timeout_;
    asio::cancellation_type type_;
};

template <class Token>
auto make_cancel_after(
    std::chrono::steady_clock::duration timeout, asio::cancellation_type type, Token&& token)
{
    return cancel_after_token<std::decay_t<Token>>(std::forward<Token>(token), timeout, type);
}

} // namespace avirt::detail

template <class Token, class Signature>
struct boost::asio::async_result<avirt::detail::cancel_after_token<Token>, Signature>
    : avirt::detail::adapter_result<async_result<Token, Signature>>
{
    template <class Initiation, class Adapter, class... Args>
    static auto initiate(Initiation&& initiation, Adapter&& adapter, Args&&... args)
        -> decltype(avirt::detail::forward_token<Adapter>(adapter).template launch<Signature>(
            adapter.template adapt<Signature>(std::forward<Initiation>(initiation)),
            std::forward<Args>(args)...))
    {
        auto timed = adapter.template adapt<Signature>(std::forward<Initiation>(initiation));
        return avirt::detail::forward_token<Adapter>(adapter).template launch<Signature>(
            std::move(timed), std::forward<Args>(args)...);
    }
};

#endif
