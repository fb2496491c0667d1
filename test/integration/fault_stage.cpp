// SPDX-License-Identifier: BSL-1.0
#include "fault_peers.hpp"

#include <avirt/cancel_after.hpp>
#include <support/printing.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <thread>
#include <utility>

#include <sys/socket.h>
#include <sys/un.h>

namespace faults {
namespace {

using wait_type = avirt::async_stream::wait_type;

/// The path of the socket that a file of this process is connected to; empty if it is none.
std::string path_of(int fd)
{
    sockaddr_un address{};
    socklen_t size = sizeof address;
    const bool is_connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    return is_connected && address.sun_family == AF_UNIX ? address.sun_path : "";
}

} // namespace

/// The handler of every operation.
class stage::handler
{
public:
    explicit handler(stage& s) : stage_(&s), result_(s.result_), handler_token_(s.handler_token_) {}

    template <class... Number>
    void operator()(error_code ec, Number... n) const
    {
        if (stage_->op_ == operation::write)
            stage_->sent_ += (std::size_t{0} + ... + static_cast<std::size_t>(n));
        if (stage_->what_ == fault::own_handler) {
            stage_->stream_.reset();
            stage_->conn_.reset();
        }
        result_.handler()(ec, n...);
    }

private:
    stage* stage_;
    outcome result_;
    std::shared_ptr<int> handler_token_;
};

stage::stage(peer with, operation op, fault what, support::loop_fixture& loop)
    : peer_(with),
      op_(op),
      what_(what),
      loop_(loop)
{
    if (what == fault::context)
        stream_context_.emplace();
    conn_.emplace(loop_.io);
    stream_.emplace(stream_context_ ? *stream_context_ : loop_.io);
}

std::unique_ptr<stage> stage::make(peer with, operation op, fault what)
{
    switch (with) {
    case peer::fake_own:
    case peer::fake_shared:
        return make_fake_stage(with, op, what);
    case peer::private_own:
    case peer::private_shared:
        return make_private_stage(with, op, what);
    case peer::embedded:
        break;
    }
    return make_embedded_stage(op, what);
}

void stage::run_until(const std::function<bool()>& done)
{
    loop_.run_until([&] {
        poll_stream_context();
        return done();
    });
}

void stage::poll_stream_context()
{
    if (!stream_context_)
        return;
    stream_context_->restart();
    stream_context_->poll();
}

void stage::run_until_done(const outcome& o)
{
    run_until([&] { return o.calls() > 0; });
}

void stage::await_result()
{
    run_until_done(result_);
    BOOST_TEST(result_.calls() == 1);
}

void stage::await_arrival()
{
    if (peer_ != peer::embedded) // There, waiting for data would be a reader.
        await_readable();
}

void stage::await_readable()
{
    outcome readable;
    stream_->async_wait(wait_type::read, readable.handler());
    run_until_done(readable);
    BOOST_TEST(readable.ec() == error_code());
}

void stage::settle()
{
    for (int i = 0; i < 100; ++i) {
        loop_.io.restart();
        loop_.io.poll();
        poll_stream_context();
    }
}

void stage::run_until_idle()
{
    for (std::uint64_t last = 0; last != loop_.loop.stats().dispatched;) {
        last = loop_.loop.stats().dispatched;
        settle();
    }
}

void stage::cancel()
{
    signal_.emit(asio::cancellation_type::terminal);
}

void stage::connect(const std::string& uri)
{
    outcome opened;
    avirt::error_details why;
    conn_->async_open(uri, avirt::with_details(opened.handler(), why));
    run_until_done(opened);
    BOOST_TEST_REQUIRE(opened.ec() == error_code(), why.message);
}

error_code stage::reopen()
{
    const error_code in_use(VIR_ERR_OPERATION_INVALID, avirt::libvirt_category());
    outcome opened;
    avirt::error_details why;
    // The former stream may have the console, or the volume, until the daemon notices that it has ended.
    do {
        opened = {};
        open(*stream_, what_to_open(), avirt::with_details(opened.handler(), why));
        run_until_done(opened);
    } while (opened.ec() == avirt::condition::console_in_use || opened.ec() == in_use);
    if (opened.ec())
        BOOST_TEST_MESSAGE(why.message);
    return opened.ec();
}

void stage::shrink_send_buffers(const std::string& path)
{
    constexpr int little = 1;
    for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::stoi(file.path().filename());
        if (path_of(fd) == path)
            ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
    }
}

void stage::fill()
{
    const std::string much(64 * 1024, 'x');
    for (error_code ec; !ec;)
        sent_ += stream_->write_some(asio::buffer(much), ec);
}

void stage::write(const std::string& text)
{
    outcome written;
    asio::async_write(*stream_, asio::buffer(text), written.handler());
    run_until_done(written);
    BOOST_TEST(written.ec() == error_code());
    sent_ += written.bytes();
}

void stage::play()
{
    set_up();
    if (op_ != operation::open)
        BOOST_REQUIRE_EQUAL(reopen(), error_code());
    if (what_ == fault::own_handler)
        let_succeed();
    else
        hold();
    do {
        begin();
        provoke_fault();
    } while (must_retry_write());
}

/// Starts the operation. A suspended guest's terminal that was full takes more when the kernel has passed on
/// what is in it: then the write is repeated until one waits.
void stage::begin()
{
    const bool must_wait = fills_terminal() && what_ != fault::cancel_after;
    do {
        result_ = {};
        start();
        await_beginning();
        if (must_wait)
            settle();
    } while (must_wait && result_);
}

/// Whether the terminal took the write before it was cancelled.
bool stage::must_retry_write()
{
    const bool is_cancelled_write = fills_terminal() && what_ <= fault::cancel_after;
    if (is_cancelled_write)
        await_result();
    return is_cancelled_write && !result_.ec();
}

template <class Token>
void stage::start(Token token)
{
    static const std::string some(64 * 1024, 'x'), much(4 * 1024 * 1024, 'x');
    switch (op_) {
    case operation::read:
        return stream_->async_read_some(asio::buffer(memory_), std::move(token));
    case operation::write:
        // A guest's terminal, and the daemon before it, take much before a write has to wait.
        if (concerns_guest())
            return asio::async_write(*stream_, asio::buffer(much), std::move(token));
        return stream_->async_write_some(asio::buffer(some), std::move(token));
    case operation::finish:
        return stream_->async_finish(std::move(token));
    case operation::abort:
        return stream_->async_abort(std::move(token));
    case operation::open:
        return open(*stream_, what_to_open(), std::move(token));
    case operation::wait:
        return stream_->async_wait(
            what_ == fault::own_handler ? wait_type::write : wait_type::error, std::move(token));
    case operation::hole:
        return stream_->async_read_hole(std::move(token));
    case operation::idle:
        return;
    }
}

void stage::start()
{
    has_started_ = true;
    const handler h(*this);
    if (what_ == fault::cancel_after)
        start(avirt::cancel_after(std::chrono::nanoseconds(1), avirt::with_details(h, details_)));
    else
        start(asio::bind_cancellation_slot(signal_.slot(), avirt::with_details(h, details_)));
}

/// Waits until an operation that takes a worker thread has one, so that a cancellation finds it there.
void stage::await_beginning()
{
    const bool takes_thread = op_ == operation::open
        || (peer_ != peer::embedded && (op_ == operation::finish || op_ == operation::abort))
        || (is_shared() && op_ == operation::write);
    if (takes_thread && what_ != fault::cancel_after)
        run_until([this] { return result_ || loop_.loop.stats().running_calls > 0; });
}

void stage::provoke_fault()
{
    switch (what_) {
    case fault::cancel_terminal:
        return signal_.emit(asio::cancellation_type::terminal);
    case fault::cancel_partial:
        return signal_.emit(asio::cancellation_type::partial);
    case fault::cancel_total:
        return signal_.emit(asio::cancellation_type::total);
    case fault::cancel_after:
    case fault::own_handler:
        return;
    case fault::other_thread:
        return end_on_another_thread();
    case fault::context:
        return stream_context_.reset();
    default:
        return provoke();
    }
}

/// The loop runs on this thread meanwhile, unless the loop alone keeps the operation waiting.
void stage::end_on_another_thread()
{
    std::thread other([this] { stream_.reset(); });
    if (peer_ == peer::embedded && (op_ == operation::finish || op_ == operation::abort))
        return other.join();
    run_until([this] { return result_ || op_ == operation::idle; });
    other.join();
}

void stage::converse()
{
    const std::string line = "a line that comes back";
    write(line + '\r');
    std::string text;
    if (op_ == operation::read && has_started_ && result_.ec() != asio::error::operation_aborted) {
        await_result();
        text.append(memory_, 0, result_.bytes());
    }
    while (text.find(line + "\r\n") == std::string::npos) {
        outcome read;
        stream_->async_read_some(asio::buffer(memory_), read.handler());
        run_until_done(read);
        BOOST_REQUIRE_EQUAL(read.ec(), error_code());
        text.append(memory_, 0, read.bytes());
    }
}

void stage::leave_echo_unread()
{
    unread_ = "x";
    write(unread_);
    await_readable();
}

stage::everything stage::read_everything()
{
    everything result;
    const auto take = [&](bool is_hole, const outcome& o) {
        if (!is_hole)
            result.text.append(memory_, 0, o.bytes());
        else if (o.bytes() != 0)
            result.text += '(' + std::to_string(o.bytes()) + ')';
        result.ending = o.ec() == avirt::error::at_hole ? error_code() : o.ec();
    };
    const auto read = [&](bool is_hole) {
        outcome o;
        if (is_hole)
            stream_->async_read_hole(avirt::with_details(o.handler(), details_));
        else
            stream_->async_read_some(asio::buffer(memory_), avirt::with_details(o.handler(), details_));
        run_until_done(o);
        take(is_hole, o);
        return o.ec();
    };
    if (op_ == operation::read || op_ == operation::hole) {
        await_result();
        if (result_.ec() != asio::error::operation_aborted)
            take(op_ == operation::hole, result_);
    }
    while (!result.ending) {
        if (read(false) == avirt::error::at_hole)
            read(true);
    }
    const auto ending = result.ending;
    BOOST_TEST(read(false) == ending); // It is reported again.
    return result;
}

error_code stage::write_until_failure()
{
    const std::string some(64 * 1024, 'x');
    auto ec = result_.ec();
    while (!ec) {
        outcome written;
        stream_->async_write_some(asio::buffer(some), avirt::with_details(written.handler(), details_));
        run_until_done(written);
        ec = written.ec();
    }
    return ec;
}

error_code stage::finish()
{
    outcome finished;
    stream_->async_finish(avirt::with_details(finished.handler(), details_));
    run_until_done(finished);
    return finished.ec();
}

error_code stage::call()
{
    const auto ask = [](virConnectPtr c) {
        unsigned long version = 0;
        return virConnectGetLibVersion(c, &version);
    };
    outcome called;
    connection().async_call(ask, avirt::with_details(called.handler(), details_));
    run_until_done(called);
    return called.ec();
}

void stage::clean_up()
{
    release();
    stream_.reset();
    conn_.reset();
    run_until([this] { return is_handler_gone(); });
}

} // namespace faults
