// SPDX-License-Identifier: BSL-1.0
#include "visitor.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <limits>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>

namespace {

using avirt::condition;

constexpr std::size_t everything = std::numeric_limits<std::size_t>::max();
constexpr std::uint64_t announced = 100; // bytes of a short upload

/// Older clients lose a wake-up if two threads use one connection (docs/libvirt.md, "Threads").
bool can_share_connections()
{
    unsigned long version = 0;
    return ::virGetVersion(&version, nullptr, nullptr) == 0 && version >= 10'004'000;
}

} // namespace

visitor::visitor(crowd_fixture& host, bool gives_up)
    : host_(host),
      stream_(host.io),
      aim_(choose_aim(host)),
      shares_connection_(host.any_of(4) == 0 && aim_ != aim::short_upload && can_share_connections()),
      ending_(static_cast<ending>(host.any_of(4))),
      gives_up_at_(gives_up ? std::optional(static_cast<stage>(host.any_of(3))) : std::nullopt),
      limit_(choose_limit(host)),
      appetite_(host.any_of(2) == 0 ? everything : host.any_of(crowd_fixture::volume_size)),
      upload_(host.free_uploads.back())
{
    host_.present.insert(this);
    host_.free_uploads.pop_back();
    host_.is_mortal_visited = host_.is_mortal_visited || aim_ == aim::mortal_console;
}

visitor::~visitor()
{
    host_.present.erase(this);
    host_.free_uploads.push_back(upload_);
    if (aim_ == aim::mortal_console)
        host_.is_mortal_visited = false;
}

visitor::aim visitor::choose_aim(crowd_fixture& host)
{
    const auto n = host.any_of(100);
    if (n < 2 && !host.is_mortal_visited)
        return aim::mortal_console;
    if (n < 25)
        return aim::console;
    if (n < 60)
        return aim::download;
    if (n < 90)
        return aim::upload;
    // The daemon of libvirt 11.3 does not survive it.
    if (n < 94 && !support::libvirtd::is_11_3())
        return aim::short_upload;
    return n < 97 ? aim::no_domain : aim::no_volume;
}

/// A limit that expires at any moment of the visit, or never, or none.
std::optional<std::chrono::microseconds> visitor::choose_limit(crowd_fixture& host)
{
    using namespace std::chrono_literals;
    switch (host.any_of(8)) {
    case 0:
        return std::chrono::microseconds(host.any_of(20'000));
    case 1:
        return never;
    default:
        return std::nullopt;
    }
}

void visitor::start()
{
    asio::co_spawn(
        host_.io, [self = shared_from_this()] { return self->visit(); },
        [self = shared_from_this()](std::exception_ptr thrown) {
            BOOST_TEST(!thrown);
            self->has_left_ = true;
        });
}

/// Begins a stage. The visitor may give up in one of its next turns.
void visitor::enter(stage s)
{
    constexpr std::size_t longest_patience[] = {300, 30, 15}; // turns of the context
    stage_ = s;
    // Impatience prevails: in a slow build, a stage may be over after few turns.
    if (gives_up_at_ == s)
        give_up_after(host_.any_of(1 + host_.any_of(longest_patience[static_cast<std::size_t>(s)])));
}

asio::awaitable<void> visitor::visit()
{
    enter(stage::opening);
    auto ec = co_await open();
    if (may_go_on(ec)) {
        enter(stage::use);
        ec = co_await use();
    }
    if (stream_ && stream_->is_open()) {
        enter(stage::end);
        co_await end();
    }
    if (is_guest_destroyed_)
        co_await change_guest(virDomainCreate);
}

/// Calls initiation(token).
template <class Initiation>
auto visitor::run(Initiation initiation)
{
    using asio::cancellation_type;
    const auto token = asio::bind_cancellation_slot(
        signal_.slot(), avirt::with_details(asio::as_tuple(asio::use_awaitable), details_));
    const auto type = is_gentle() ? cancellation_type::partial : cancellation_type::terminal;
    return limit_ ? initiation(avirt::cancel_after(*limit_, type, token)) : initiation(token);
}

asio::awaitable<error_code> visitor::open()
{
    switch (aim_) {
    case aim::console:
        return open(host_.console("echo"));
    case aim::mortal_console:
        return open(host_.console("mortal"));
    case aim::download:
        return open(host_.download("download"));
    case aim::upload:
        std::filesystem::resize_file(host_.uploads[upload_], 0);
        return open(host_.upload("upload" + std::to_string(upload_)));
    case aim::short_upload: {
        auto opener = host_.upload("upload" + std::to_string(upload_));
        opener.length = announced;
        return open(std::move(opener));
    }
    case aim::no_domain:
        return open(host_.console("nothing"));
    default:
        return open(host_.download("nothing"));
    }
}

template <class Opener>
asio::awaitable<error_code> visitor::open(Opener opener)
{
    // Consoles are not taken over by force: docs/libvirt.md, "What the daemon of libvirt 9.0 does not
    // survive".
    const auto [ec] = co_await run([&](auto token) {
        return shares_connection_ ? stream_->async_open(host_.conn, avirt::shared_connection, opener, token)
                                  : stream_->async_open(host_.conn, opener, token);
    });
    const bool exists = aim_ != aim::no_domain && aim_ != aim::no_volume;
    // One that gave up before may not have let it go yet.
    const bool is_console = aim_ == aim::console || aim_ == aim::mortal_console;
    const bool is_in_use = ec == (is_console ? condition::console_in_use : condition::wrong_state);
    const bool may_be_in_use = is_console || aim_ == aim::upload || aim_ == aim::short_upload;
    check(ec, exists ? !ec || (may_be_in_use && is_in_use) : ec == condition::not_found);
    co_return ec;
}

asio::awaitable<error_code> visitor::use()
{
    switch (aim_) {
    case aim::console:
        return talk();
    case aim::mortal_console:
        return see_guest_destroyed();
    case aim::download:
        return read();
    case aim::upload:
        return write(std::min(appetite_, crowd_fixture::volume_size));
    default:
        return write(100 * announced);
    }
}

/// Waits for the echo of a character.
asio::awaitable<error_code> visitor::talk()
{
    auto ec = co_await write(1);
    if (!may_go_on(ec))
        co_return ec;
    std::tie(ec, std::ignore) =
        co_await run([&](auto token) { return stream_->async_read_some(asio::buffer(buffer_), token); });
    check(ec, !ec);
    co_return ec;
}

asio::awaitable<error_code> visitor::see_guest_destroyed()
{
    auto ec = co_await change_guest(virDomainDestroy);
    is_guest_destroyed_ = !ec;
    if (ec)
        co_return ec;
    while (may_go_on(ec))
        std::tie(ec, std::ignore) =
            co_await run([&](auto token) { return stream_->async_read_some(asio::buffer(buffer_), token); });
    check(ec, ec == condition::guest_gone || ec == asio::error::eof || (!ec && given_up_));
    co_return ec;
}

asio::awaitable<error_code> visitor::read()
{
    const auto& expected = host_.content_of_volume;
    error_code ec;
    while (may_go_on(ec) && used_ < appetite_) {
        const auto size = std::min(buffer_.size(), appetite_ - used_);
        const auto [e, n] = co_await run(
            [&](auto token) { return stream_->async_read_some(asio::buffer(buffer_, size), token); });
        BOOST_TEST(expected.compare(used_, n, buffer_.data(), n) == 0);
        used_ += n;
        ec = e;
    }
    check(ec, !ec || (ec == asio::error::eof && used_ == expected.size()));
    co_return ec;
}

asio::awaitable<error_code> visitor::write(std::size_t size)
{
    error_code ec;
    while (may_go_on(ec) && used_ < size) {
        const auto rest = asio::buffer(host_.content_of_volume.data() + used_, size - used_);
        is_writing_ = true;
        const auto [e, n] = co_await run([&](auto token) { return stream_->async_write_some(rest, token); });
        is_writing_ = false;
        used_ += n;
        ec = e;
    }
    check(ec, !ec || aim_ == aim::short_upload);
    co_return ec;
}

asio::awaitable<void> visitor::end()
{
    error_code ec;
    switch (ending_) {
    case ending::finish:
        std::tie(ec) = co_await run([&](auto token) { return stream_->async_finish(token); });
        check(ec, !ec || aim_ == aim::short_upload || aim_ == aim::mortal_console);
        if (!ec && aim_ == aim::upload)
            check_uploaded();
        break;
    case ending::abort:
        std::tie(ec) = co_await run([&](auto token) { return stream_->async_abort(token); });
        check(ec, !ec || aim_ == aim::short_upload || aim_ == aim::mortal_console);
        break;
    case ending::close:
        stream_->close();
        break;
    case ending::destruction: // Inside the handler of the latest operation.
        stream_.reset();
        break;
    }
}

/// Those that gave up before may have written more, but the same.
void visitor::check_uploaded() const
{
    const auto found = crowd_fixture::content(host_.uploads[upload_]);
    BOOST_TEST(found.compare(0, used_, host_.content_of_volume, 0, used_) == 0);
}

asio::awaitable<error_code> visitor::change_guest(int (*function)(virDomainPtr))
{
    const auto change = [function](virConnectPtr c) {
        const avirt::domain guest{virDomainLookupByName(c, "mortal")};
        if (!guest || function(guest.get()) < 0)
            avirt::throw_last_error();
    };
    const auto [ec] = co_await host_.conn.async_call(change, asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(!ec, ec.message());
    co_return ec;
}

/// Whether a cancellation must let a write that has begun end: otherwise it would cost the other visitors the
/// connection that they share.
bool visitor::is_gentle() const noexcept
{
    return shares_connection_ && is_writing_;
}

bool visitor::may_go_on(error_code ec) const noexcept
{
    return !ec && stream_ && !given_up_;
}

void visitor::check(error_code ec, bool is_expected) const
{
    const bool may_be_aborted = given_up_ || (limit_ && limit_ != never);
    // not_open: the stream was closed when an operation had completed, but its handler had not run yet.
    if (is_expected || (may_be_aborted && (ec == aborted || ec == avirt::error::not_open)))
        return;
    BOOST_ERROR(describe() << ": " << ec << ", " << ec.message() << ": " << details_.message);
}

std::string visitor::describe() const
{
    static constexpr const char* aims[] = {"console",      "mortal console", "download", "upload",
                                           "short upload", "no domain",      "no volume"};
    static constexpr const char* stages[] = {"opening", "using", "ending"};
    static constexpr const char* endings[] = {"finish", "abort", "close", "destruction"};
    std::ostringstream text;
    text << aims[static_cast<int>(aim_)] << ", " << stages[static_cast<int>(stage_)]
         << ", ending: " << endings[static_cast<int>(ending_)]
         << (shares_connection_ ? ", shared connection" : "") << (is_writing_ ? ", writing" : "");
    if (limit_)
        text << ", limit: " << limit_->count() << " us";
    if (given_up_)
        text << ", given up: " << *given_up_;
    text << ", after " << used_ << " bytes";
    return text.str();
}

void visitor::give_up_after(std::size_t turns)
{
    asio::post(host_.io, [self = shared_from_this(), turns] {
        if (!self->has_left_)
            turns == 0 ? self->give_up() : self->give_up_after(turns - 1);
    });
}

void visitor::give_up()
{
    ++host_.given_up[static_cast<std::size_t>(stage_)];
    given_up_ = host_.any_of(is_gentle() ? 2 : 6);
    switch (*given_up_) {
    case 0:
        return signal_.emit(asio::cancellation_type::partial);
    case 1:
        return signal_.emit(asio::cancellation_type::total);
    case 2:
        return signal_.emit(asio::cancellation_type::terminal);
    case 3:
        return stream_ ? stream_->cancel() : void();
    case 4:
        return stream_ ? stream_->close() : void();
    default:
        stream_.reset();
    }
}
