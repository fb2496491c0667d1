// SPDX-License-Identifier: BSL-1.0
#include "host/console_driver.hpp"

#include "core/await_operation.hpp"
#include "host/domain_status.hpp"

#include <avirt/to_string.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <exception>
#include <string>

namespace avirt::detail {
namespace {

constexpr std::chrono::milliseconds first_delay{100};
constexpr std::chrono::milliseconds longest_delay{10'000};
/// A console that was open for so long works: the next attempt is made soon.
constexpr std::chrono::seconds long_enough{1};
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

bool is_active(int state) noexcept
{
    return state != VIR_DOMAIN_SHUTDOWN && state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED;
}

error_details described(std::string message)
{
    error_details d;
    d.domain = VIR_FROM_DOM;
    d.level = VIR_ERR_WARNING;
    d.message = std::move(message);
    return d;
}

error_details state_of(const domain_status& d)
{
    if (is_active(d.state))
        return {};
    const auto state = static_cast<virDomainState>(d.state);
    return described(std::string(to_string(state)).append(": ").append(to_string(state, d.reason)));
}

error_details no_such_domain(const std::string& name)
{
    auto d = described("Domain not found: no domain has the name or UUID '" + name + "'");
    d.code = VIR_ERR_NO_DOMAIN;
    d.level = VIR_ERR_ERROR;
    return d;
}

/// The state after the console has been lost, or could not be opened.
console_state state_after(const failure& why)
{
    if (why.code == asio::error::eof || why.code == asio::error::broken_pipe
        || why.code == condition::guest_gone || why.details.code == VIR_ERR_NO_DOMAIN)
        return console_state::off;
    if (why.code == condition::console_taken_over)
        return console_state::taken_over;
    if (why.code == condition::connection_lost || why.code == error::not_open)
        return console_state::opening;
    return console_state::unavailable;
}

/// Whether another attempt can only succeed after something has changed.
bool is_permanent(const failure& why)
{
    if (why.code == condition::denied)
        return why.details.code != VIR_ERR_SYSTEM_ERROR; // That comes from a terminal that ceases to exist.
    return why.code == condition::not_supported
        || (why.code == condition::not_found && why.details.code != VIR_ERR_NO_DOMAIN);
}

error_details details_of(failure why)
{
    if (why.details.message.empty() && why.code != asio::error::eof)
        why.details.message = why.code.message();
    return std::move(why.details);
}

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
      delay_(first_delay, longest_delay),
      may_force_(forces())
{
}

bool console_driver::forces() const noexcept
{
    return options_.force || (which_.flags & VIR_DOMAIN_CONSOLE_FORCE) != 0;
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
        self.takes_over_ = true;
        self.retry_at_ = clock::time_point::min();
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
        self.reason_ = details_of(why);
        self.changed();
    });
}

void console_driver::on_host_closed(const failure& why)
{
    input_->close();
    broadcast_->close(details_of(why));
    post([](console_driver& self) { self.end(); });
}

void console_driver::on_domain(const domain_status* domain, int event)
{
    auto reason = domain ? state_of(*domain) : no_such_domain(which_.domain);
    post([exists = domain != nullptr, state = domain ? domain->state : 0, event,
          reason = std::move(reason)](console_driver& self) mutable {
        const bool was_host_away = std::exchange(self.is_host_away_, false);
        if (was_host_away)
            self.ended_run_ = console_run_opener::no_run; // A daemon that ends ends its streams, too.
        const bool is_new = was_host_away || event == VIR_DOMAIN_EVENT_STARTED;
        const bool was_active = std::exchange(self.is_active_, exists && is_active(state));
        if (!std::exchange(self.is_paused_, state == VIR_DOMAIN_PAUSED) && self.is_paused_)
            self.input_->on_paused(clock::now());
        self.reason_ = std::move(reason);
        if (self.is_active_ && (is_new || !was_active)) {
            ++self.starts_;
            self.is_retry_ = false;
            if (!was_host_away) // Otherwise whoever has taken the console over may still have it.
                self.may_force_ = self.forces();
            self.retry_at_ = clock::time_point::min();
            self.delay_.reset();
        }
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
        else if (self->retry_at_ > clock::now()) {
            if (self->retry_at_ == clock::time_point::max())
                self->input_->refuse(error::not_attached);
            co_await self->wait_until(self->retry_at_);
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
        if (clock::now() - since > long_enough)
            delay_.reset();
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
    if (!is_retry_)
        broadcast_->change(console_state::opening);
    auto which = which_;
    which.flags &= ~static_cast<unsigned>(VIR_DOMAIN_CONSOLE_FORCE);
    if (std::exchange(takes_over_, false) || may_force_)
        which.flags |= VIR_DOMAIN_CONSOLE_FORCE;
    if (clock::now() - ended_at_ > longest_delay)
        ended_run_ = console_run_opener::no_run; // It has lost its console, but lives.
    const auto opener = std::make_shared<console_run_opener>(std::move(which), ended_run_);
    stream_.emplace(strand_);
    phase_ = phase::opening;
    starts_before_ = starts_;
    const auto why = co_await stream_->open_erased(connection_, opener);
    run_ = opener->run();
    attached_run_ = run_;
    if (!why)
        takes_over_ = false;
    co_return why;
}

/// Reads until the console ends. Succeeds if a console on demand is not needed any more.
asio::awaitable<failure> console_driver::read()
{
    has_send_failed_ = false;
    input_->attach();
    show_attached();
    auto size = read_size;
    while (is_needed()) {
        send(); // What has been written while the console seemed not to be needed, for instance.
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
    co_return failure();
}

/// Returns false if nobody needs the console any more. Then no input is accepted from now on.
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
    if (!is_host_away_ && is_active_) { // It is not needed. Whoever needs it next may try.
        if (retry_at_ == clock::time_point::max())
            retry_at_ = clock::time_point::min();
        return broadcast_->change(console_state::off);
    }
    takes_over_ = false;
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
    is_retry_ = false;
    if (!why || why.code == asio::error::operation_aborted)
        return;
    const auto state = state_after(why);
    is_retry_ = state != console_state::opening;
    if (state == console_state::taken_over)
        may_force_ = false;
    if (state == console_state::off && run_ != console_run_opener::no_run) {
        ended_run_ = run_;
        ended_at_ = clock::now();
    }
    if (starts_ != starts_before_ || takes_over_)
        retry_at_ = clock::time_point::min(); // Something has happened since.
    else
        retry_at_ = is_permanent(why) ? clock::time_point::max() : clock::now() + delay_.next();
    if (state != console_state::opening)
        input_->refuse(error::not_attached);
    // While it waits for a console that somebody else has taken over, attempts to open it fail otherwise.
    const bool still_waits =
        broadcast_->state() == console_state::taken_over && state == console_state::unavailable;
    broadcast_->change(still_waits ? console_state::taken_over : state, details_of(why));
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
