// SPDX-License-Identifier: BSL-1.0
#include "host/console_driver.hpp"

#include "core/await_operation.hpp"
#include "host/console_reason.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <libvirt/libvirt.h>

#include <algorithm>
#include <exception>

namespace avirt::detail {
namespace {

/// How long a session on demand waits for the guest to take its input before it leaves the console.
constexpr std::chrono::seconds finish_time{5};
constexpr std::size_t read_size = 4096;

/// At least a millisecond: a deadline of less would be none.
std::chrono::milliseconds time_until(std::chrono::steady_clock::time_point when)
{
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - std::chrono::steady_clock::now());
    return std::max(left, std::chrono::milliseconds(1));
}

/// A turn to open a console.
class turn_to_open
{
public:
    explicit turn_to_open(host_consoles& consoles) noexcept : consoles_(consoles) {}

    ~turn_to_open()
    {
        consoles_.opened();
    }

    turn_to_open(const turn_to_open&) = delete;
    turn_to_open& operator=(const turn_to_open&) = delete;

private:
    host_consoles& consoles_;
};

} // namespace

console_driver::console_driver(
    const asio::any_io_executor& executor, std::shared_ptr<host_consoles> consoles,
    std::shared_ptr<connection_impl> connection, console which, const console_session_options& options)
    : strand_(strand_of(executor)),
      consoles_(std::move(consoles)),
      connection_(std::move(connection)),
      which_(std::move(which)),
      options_(options),
      broadcast_(std::make_shared<console_broadcast>(executor, options.history)),
      input_(std::make_shared<console_input>(executor, options.on_demand)),
      attempts_(options.force || (which_.flags & VIR_DOMAIN_CONSOLE_FORCE) != 0)
{
}

template <class Function>
void console_driver::post(Function function)
{
    const std::lock_guard guard(mutex_);
    if (strand_)
        asio::post(strand_, [self = shared_from_this(), function = std::move(function)]() mutable {
            function(*self);
        });
}

void console_driver::start(std::shared_ptr<supervisor_impl> host)
{
    consoles_->add(shared_from_this(), std::move(host));
    post([](console_driver& self) {
        asio::co_spawn(self.strand_, run(self.shared_from_this()), [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
    });
}

void console_driver::shutdown() noexcept
{
    broadcast_->shutdown();
    input_->shutdown();
    std::optional<asio::any_completion_handler<void()>> dropped; // destroyed outside the lock
    const std::lock_guard guard(mutex_);
    strand_ = {};
    dropped = std::exchange(waiting_, std::nullopt);
}

void console_driver::close() noexcept
{
    input_->close();
    broadcast_->close({});
    post([](console_driver& self) { self.end(); });
}

void console_driver::end()
{
    is_closed_ = true;
    changed();
}

void console_driver::take_over() noexcept
{
    post([](console_driver& self) {
        if (self.phase_ == phase::attached || !self.may_open())
            return;
        self.attempts_.take_over();
        self.changed();
    });
}

void console_driver::on_input()
{
    if (is_send_posted_.exchange(true))
        return;
    asio::any_io_executor strand;
    {
        const std::lock_guard guard(mutex_);
        strand = strand_;
    }
    if (!strand)
        return;
    try {
        asio::dispatch(strand, [self = shared_from_this()] {
            self->is_send_posted_ = false;
            self->send();
        });
    }
    catch (...) {
        is_send_posted_ = false;
        throw;
    }
}

void console_driver::add_user()
{
    if (users_++ == 0 && options_.on_demand)
        post([](console_driver& self) { self.changed(); });
}

void console_driver::remove_user() noexcept
{
    if (--users_ == 0 && options_.on_demand)
        post([](console_driver& self) { self.changed(); });
}

bool console_driver::follows(const domain_status& d) const
{
    return is_called(d, which_.domain);
}

void console_driver::on_host_away(const failure& why)
{
    post([why](console_driver& self) {
        self.is_host_away_ = true;
        self.is_active_ = false;
        self.reason_ = reason_of(why);
        self.changed();
    });
}

void console_driver::on_host_closed(const failure& why)
{
    input_->close();
    broadcast_->close(reason_of(why));
    post([](console_driver& self) { self.end(); });
}

void console_driver::on_domain(const domain_status* domain, int event)
{
    auto reason = domain ? reason_of(*domain) : no_such_domain(which_.domain);
    post([exists = domain != nullptr, state = domain ? domain->state : 0, event,
          reason = std::move(reason)](console_driver& self) mutable {
        const bool was_host_away = std::exchange(self.is_host_away_, false);
        if (was_host_away)
            self.attempts_.host_came_back();
        const bool is_new = was_host_away || event == VIR_DOMAIN_EVENT_STARTED;
        const bool was_active = std::exchange(self.is_active_, exists && is_active(state));
        if (!std::exchange(self.is_paused_, state == VIR_DOMAIN_PAUSED) && self.is_paused_)
            self.input_->on_paused(clock::now());
        self.reason_ = std::move(reason);
        if (self.is_active_ && (is_new || !was_active))
            self.attempts_.guest_started(was_host_away);
        self.show_attached();
        self.changed();
        self.broadcast_->tell_news();
    });
}

void console_driver::on_turn_to_open()
{
    post([](console_driver& self) {
        self.has_turn_ = true;
        self.changed();
    });
}

/// Something has changed that the coroutine waits for, or because of which it must not go on with what it
/// waits for.
void console_driver::changed()
{
    has_changed_ = true;
    if (stream_ && (is_closed_ || (phase_ == phase::opening && !may_open())))
        stream_->impl()->close();
    else if (phase_ == phase::attached && !is_wanted())
        stream_->impl()->cancel(); // Then the coroutine finishes the stream.
    if (waiting_)
        asio::post(strand_, *std::exchange(waiting_, std::nullopt));
}

asio::awaitable<void> console_driver::wait_for_change()
{
    if (!std::exchange(has_changed_, false))
        co_await await_operation<void()>([this](auto handler) { waiting_.emplace(std::move(handler)); });
    has_changed_ = false;
}

asio::awaitable<void> console_driver::wait_until(clock::time_point when)
{
    if (when == clock::time_point::max())
        co_return co_await wait_for_change();
    const deadline limit(time_until(when), [weak = weak_from_this()] {
        if (const auto self = weak.lock())
            self->post([](console_driver& s) { s.changed(); });
    });
    co_await wait_for_change();
}

bool console_driver::is_wanted() const noexcept
{
    return !options_.on_demand || users_ != 0 || input_->is_waiting();
}

bool console_driver::may_open() const noexcept
{
    return !is_closed_ && !is_host_away_ && is_active_ && is_wanted();
}

asio::awaitable<void> console_driver::run(std::shared_ptr<console_driver> self)
{
    while (!self->is_closed_) {
        if (!self->may_open()) {
            self->show_why_not();
            co_await self->wait_for_change();
        }
        else if (self->attempts_.next() > clock::now()) {
            if (self->attempts_.is_given_up())
                self->input_->refuse(error::not_attached);
            co_await self->wait_until(self->attempts_.next());
        }
        else {
            const bool has_turn = co_await self->wait_for_turn();
            if (has_turn)
                self->on_ended(co_await self->use_console());
        }
    }
}

/// Returns whether the console may be opened now; then the caller has to call opened().
asio::awaitable<bool> console_driver::wait_for_turn()
{
    consoles_->open(weak_from_this());
    while (!std::exchange(has_turn_, false)) {
        if (is_closed_ && consoles_->withdraw(*this))
            co_return false;
        co_await wait_for_change();
    }
    co_return true;
}

/// Opens the console, and uses it to its end. Returns why it ended; operation_aborted: it is not needed, or
/// cannot be opened now.
asio::awaitable<failure> console_driver::use_console()
{
    auto why = co_await open();
    if (!why) {
        phase_ = phase::attached;
        const auto since = clock::now();
        why = co_await read();
        attempts_.was_open_for(clock::now() - since);
        if (why)
            input_->detach();
        else
            co_await finish();
        attached_run_ = console_run_opener::no_run;
    }
    phase_ = phase::idle;
    pace_deadline_.reset();
    stream_.reset();
    co_return why;
}

asio::awaitable<failure> console_driver::open()
{
    const turn_to_open turn(*consoles_);
    if (!may_open())
        co_return error_code(asio::error::operation_aborted);
    if (!attempts_.is_retry())
        broadcast_->change(console_state::opening);
    const auto attempt = attempts_.begin(clock::now());
    auto which = which_;
    which.flags &= ~static_cast<unsigned>(VIR_DOMAIN_CONSOLE_FORCE);
    if (attempt.forces)
        which.flags |= VIR_DOMAIN_CONSOLE_FORCE;
    const auto opener = std::make_shared<console_run_opener>(std::move(which), attempt.ended_run);
    stream_.emplace(strand_);
    phase_ = phase::opening;
    const auto why = co_await stream_->open_erased(connection_, opener);
    attempts_.opened(opener->run(), !why);
    if (!why)
        attached_run_ = opener->run();
    co_return why;
}

/// Reads until the console ends. Succeeds if a console on demand is not needed any more.
asio::awaitable<failure> console_driver::read()
{
    has_send_failed_ = false;
    input_->attach();
    show_attached();
    auto size = read_size;
    for (;;) {
        send(); // First: the console may be needed for nothing else than what has been written.
        if (!is_needed())
            co_return failure();
        const auto memory = broadcast_->prepare(size);
        const auto next = co_await stream_->read_some(memory);
        if (next.value != 0) {
            broadcast_->commit(next.value);
            on_output();
        }
        if (next.error && (is_closed_ || next.error.code != asio::error::operation_aborted))
            co_return next.error;
        size = next.value == memory.size() ? console_history::max_prepared : read_size;
    }
}

/// Returns false if the console is not needed any more. Then no input is accepted from now on.
bool console_driver::is_needed()
{
    if (!options_.on_demand || users_ != 0)
        return true;
    in_doubt_ = input_->detach_if_idle();
    return !in_doubt_;
}

/// Waits for the guest to take its input, which would be lost if a session on demand aborted its console.
asio::awaitable<void> console_driver::finish()
{
    phase_ = phase::finishing;
    const deadline limit(finish_time, [weak = weak_from_this()] {
        if (const auto self = weak.lock())
            self->post([](console_driver& s) {
                if (s.phase_ == phase::finishing)
                    s.stream_->impl()->close();
            });
    });
    const auto why = co_await stream_->finish();
    if (!why)
        input_->arrived(*in_doubt_);
}

void console_driver::show_why_not()
{
    if (!is_host_away_ && is_active_) {
        attempts_.not_needed();
        return broadcast_->change(console_state::off);
    }
    attempts_.guest_is_off();
    input_->refuse(error::not_attached);
    broadcast_->change(is_host_away_ ? console_state::host_away : console_state::off, reason_);
}

void console_driver::show_attached()
{
    if (phase_ != phase::attached)
        return;
    if (input_->is_stalled(clock::now(), is_paused_))
        broadcast_->change(console_state::stalled);
    else
        broadcast_->change(is_paused_ ? console_state::paused : console_state::attached);
    await_pace();
}

void console_driver::on_output()
{
    if (!input_->heard(is_paused_))
        return;
    show_attached();
    send();
}

void console_driver::on_ended(const failure& why)
{
    if (!why || why.code == asio::error::operation_aborted)
        return attempts_.cancelled();
    const auto state = state_after(why);
    attempts_.ended(why, state, clock::now());
    if (state != console_state::opening)
        input_->refuse(error::not_attached);
    // While it waits for a console that another session has taken over, attempts to open it fail otherwise.
    const bool still_waits =
        broadcast_->state() == console_state::taken_over && state == console_state::unavailable;
    broadcast_->change(still_waits ? console_state::taken_over : state, reason_of(why));
}

void console_driver::send()
{
    while (phase_ == phase::attached && !has_send_failed_) {
        const const_buffer_list packet(input_->next_packet(clock::now()));
        if (packet.empty())
            break;
        const auto stream = stream_->impl();
        io_result result;
        if (!stream->try_write(packet, result)) {
            const auto complete = [self = shared_from_this(),
                                   stream](const error_code& ec, std::size_t size) {
                self->input_->sent(size, clock::now());
                if (self->phase_ != phase::attached || self->stream_->impl() != stream)
                    return;
                self->has_send_failed_ = ec.failed(); // The read tells why.
                self->show_attached();
                self->send();
            };
            stream->async_write(packet, complete, nullptr);
            break;
        }
        input_->sent(result.bytes, clock::now());
        has_send_failed_ = result.ending.code.failed();
    }
    await_pace();
    if (options_.on_demand)
        changed(); // The input may have been what the console was needed for.
}

/// Makes time pass for the input that waits: the next packet is sent, or the guest is found to take none.
void console_driver::await_pace()
{
    const auto when = phase_ == phase::attached && !has_send_failed_
        ? input_->next_change(clock::now(), is_paused_)
        : std::nullopt;
    if (!when)
        return pace_deadline_.reset();
    pace_deadline_.emplace(time_until(*when), [weak = weak_from_this()] {
        if (const auto self = weak.lock())
            self->post([](console_driver& s) {
                s.show_attached();
                s.send();
            });
    });
}

} // namespace avirt::detail
