// SPDX-License-Identifier: BSL-1.0
#include "fault_places.hpp"

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
std::string peer_of(int fd)
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
    explicit handler(stage& s) : stage_(&s), result_(s.result_), held_(s.held_) {}

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
    std::shared_ptr<int> held_;
};

stage::stage(place where, operation op, fault what, support::loop_fixture& loop)
    : where_(where),
      op_(op),
      what_(what),
      loop_(loop)
{
    if (what == fault::context)
        apart_.emplace();
    conn_.emplace(loop_.io);
    stream_.emplace(apart_ ? *apart_ : loop_.io);
}

std::unique_ptr<stage> stage::make(place where, operation op, fault what)
{
    switch (where) {
    case place::fake_own:
    case place::fake_shared:
        return make_fake_stage(where, op, what);
    case place::private_own:
    case place::private_shared:
        return make_private_stage(where, op, what);
    case place::embedded:
        break;
    }
    return make_embedded_stage(op, what);
}

void stage::run_until(const std::function<bool()>& done)
{
    loop_.run_until([&] {
        if (apart_) {
            apart_->restart();
            apart_->poll();
        }
        return done();
    });
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

void stage::settle()
{
    for (int i = 0; i < 100; ++i) {
        loop_.io.restart();
        loop_.io.poll();
    }
}

void stage::come_to_rest()
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

void stage::limit_sockets(const std::string& path)
{
    constexpr int little = 1;
    for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
        const int fd = std::stoi(file.path().filename());
        if (peer_of(fd) == path)
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
    // A suspended guest's terminal takes a little more than it seems.
    do {
        result_ = {};
        start();
        await_beginning();
        provoke_fault();
    } while (has_written_instead());
}

bool stage::has_written_instead()
{
    const bool may = where_ == place::embedded && op_ == operation::write && what_ <= fault::cancel_after;
    if (may)
        await_result();
    return may && !result_.ec();
}

template <class Token>
void stage::start(Token token)
{
    static const std::string some(64 * 1024, 'x'), much(4 * 1024 * 1024, 'x');
    switch (op_) {
    case operation::read:
        return stream_->async_read_some(asio::buffer(memory_), std::move(token));
    case operation::write:
        // Sooner or later it has to wait. A composed operation uses the stream, which another thread
        // destroys.
        if (concerns_guest() || (where_ == place::embedded && what_ == fault::context))
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
        start(avirt::cancel_after(std::chrono::nanoseconds(1), h));
    else
        start(asio::bind_cancellation_slot(signal_.slot(), h));
}

/// Waits until an operation that takes a worker thread has one, so that a cancellation finds it there.
void stage::await_beginning()
{
    const bool takes_thread = op_ == operation::open
        || (where_ != place::embedded && (op_ == operation::finish || op_ == operation::abort))
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
        return apart_.reset();
    default:
        return provoke();
    }
}

/// The loop runs on this thread meanwhile.
void stage::end_on_another_thread()
{
    std::thread other([this] { stream_.reset(); });
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
            stream_->async_read_hole(o.handler());
        else
            stream_->async_read_some(asio::buffer(memory_), o.handler());
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
        stream_->async_write_some(asio::buffer(some), written.handler());
        run_until_done(written);
        ec = written.ec();
    }
    return ec;
}

error_code stage::finish()
{
    outcome finished;
    stream_->async_finish(finished.handler());
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
    connection().async_call(ask, called.handler());
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
