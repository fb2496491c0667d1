// SPDX-License-Identifier: BSL-1.0

// What must compile, and what must not. Building is the test.
#include <avirt/avirt.hpp>
#include <avirt/picture.hpp>
#include <avirt/receive_all.hpp>
#include <avirt/relay.hpp>
#include <avirt/send_all.hpp>
#include <avirt/volume_info.hpp>
#include <avirt/volume_transfer.hpp>

#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace asio = boost::asio;
using avirt::async_stream;
using avirt::basic_async_stream;
using avirt::basic_connection;
using avirt::connection;
using avirt::error_code;
using io_executor = asio::io_context::executor_type;

// Asio's and Beast's requirements on streams and layers.
static_assert(boost::beast::is_async_stream<async_stream>::value);
static_assert(boost::beast::is_async_stream<basic_async_stream<io_executor>>::value);
static_assert(boost::beast::has_get_executor<async_stream>::value);
static_assert(std::same_as<boost::beast::executor_type<async_stream>, asio::any_io_executor>);
static_assert(std::same_as<async_stream::lowest_layer_type, async_stream>);
static_assert(
    std::same_as<async_stream::rebind_executor<io_executor>::other, basic_async_stream<io_executor>>);
static_assert(std::same_as<connection::rebind_executor<io_executor>::other, basic_connection<io_executor>>);
static_assert(
    std::same_as<
        asio::use_awaitable_t<>::as_default_on_t<async_stream>::executor_type::default_completion_token_type,
        asio::use_awaitable_t<>>);

// A deferred operation that is launched as an lvalue is copied.
void launch_twice(async_stream& stream, connection& c)
{
    auto open = stream.async_open(c, avirt::console("vm"), asio::deferred);
    open([](const error_code&) {});
    std::move(open)([](const error_code&) {});
}

// Any stream can be an end of a transfer: Asio's, Beast's, which need more of a handler's executor, and
// avirt's.
template <class Stream>
constexpr bool is_end =
    avirt::byte_sink<Stream&>&& avirt::byte_source<Stream&>&& avirt::detail::relayed_stream<Stream>;
static_assert(is_end<asio::ip::tcp::socket>);
static_assert(is_end<boost::beast::tcp_stream>);
static_assert(is_end<async_stream>);

// Handles to shared state: they can be moved without throwing, and never copied.
template <class T>
constexpr bool is_move_only =
    std::is_nothrow_move_constructible_v<T>&& std::is_nothrow_move_assignable_v<
        T> && !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> && !std::is_default_constructible_v<T> && std::is_nothrow_destructible_v<T>;
static_assert(is_move_only<async_stream>);
static_assert(is_move_only<basic_async_stream<io_executor>>);
static_assert(is_move_only<connection>);
static_assert(is_move_only<basic_connection<io_executor>>);
static_assert(!std::is_move_constructible_v<avirt::event_loop>);
static_assert(!std::is_copy_constructible_v<avirt::event_loop>);

// Objects can be constructed from an executor or a context, and only explicitly.
template <class T>
constexpr bool is_made_of_contexts =
    std::is_constructible_v<T, asio::io_context&>&& std::is_constructible_v<
        T, asio::thread_pool&>&& std::is_constructible_v<T, asio::any_io_executor>&&
        std::is_constructible_v<T, io_executor>&& std::is_constructible_v<
            T,
            asio::strand<
                io_executor>> && !std::is_convertible_v<asio::io_context&, T> && !std::is_convertible_v<asio::any_io_executor, T> && !std::is_constructible_v<T, int> && !std::is_constructible_v<T, std::string&> && !std::is_constructible_v<T, const asio::io_context&>;
static_assert(is_made_of_contexts<async_stream>);
static_assert(is_made_of_contexts<connection>);
static_assert(is_made_of_contexts<avirt::event_loop>);

// Objects convert to those of an executor type that their own converts to, and to no others.
static_assert(std::is_nothrow_constructible_v<async_stream, basic_async_stream<io_executor>&&>);
static_assert(std::is_nothrow_assignable_v<async_stream&, basic_async_stream<io_executor>&&>);
static_assert(!std::is_constructible_v<async_stream, basic_async_stream<io_executor>&>);
static_assert(!std::is_constructible_v<basic_async_stream<io_executor>, async_stream&&>);
static_assert(std::is_nothrow_constructible_v<connection, basic_connection<io_executor>&&>);
static_assert(!std::is_constructible_v<basic_connection<io_executor>, connection&&>);
static_assert(!std::is_constructible_v<async_stream, connection&&>);

// Reads take buffers that can be written to, writes take buffers that can be read.
template <class Buffers>
concept readable_into = requires(async_stream s, Buffers b, error_code ec)
{
    s.async_read_some(b, asio::use_future);
    s.read_some(b, ec);
};
template <class Buffers>
concept writable_from = requires(async_stream s, Buffers b, error_code ec)
{
    s.async_write_some(b, asio::use_future);
    s.write_some(b, ec);
};
static_assert(readable_into<asio::mutable_buffer>);
static_assert(readable_into<std::array<asio::mutable_buffer, 2>>);
static_assert(readable_into<std::vector<asio::mutable_buffer>>);
static_assert(!readable_into<asio::const_buffer>);
static_assert(!readable_into<std::string>);
static_assert(!readable_into<char*>);
static_assert(writable_from<asio::const_buffer>);
static_assert(writable_from<asio::mutable_buffer>);
static_assert(writable_from<std::vector<asio::const_buffer>>);
static_assert(!writable_from<std::string>);

// Streams are held by reference, everything else is copied.
static_assert(avirt::byte_sink<async_stream&>);
static_assert(!avirt::byte_sink<async_stream>);
static_assert(avirt::byte_sink<asio::dynamic_vector_buffer<char, std::allocator<char>>>);
static_assert(avirt::byte_sink<void (*)(asio::const_buffer)>);
static_assert(!avirt::byte_sink<void (*)(std::string)>);
static_assert(!avirt::byte_sink<std::string&>);
static_assert(avirt::byte_source<async_stream&>);
static_assert(!avirt::byte_source<async_stream>);
static_assert(avirt::byte_source<asio::mutable_buffer>);
static_assert(avirt::byte_source<const std::vector<asio::const_buffer>&>);
static_assert(avirt::byte_source<std::size_t (*)(asio::mutable_buffer)>);
static_assert(!avirt::byte_source<void (*)(asio::mutable_buffer)>);
static_assert(!avirt::byte_source<std::string&>);

// Only tokens that fit the signature are accepted.
template <class Token>
concept opens_with = requires(connection c, Token t)
{
    c.async_open("", std::forward<Token>(t));
};
template <class Token>
concept reads_with = requires(async_stream s, asio::mutable_buffer b, Token t)
{
    s.async_read_some(b, std::forward<Token>(t));
};
struct move_only_handler
{
    std::unique_ptr<int> owned{};
    void operator()(error_code);
};
static_assert(opens_with<asio::use_future_t<>>);
static_assert(opens_with<void (*)(error_code)>);
static_assert(opens_with<move_only_handler>);
static_assert(!opens_with<void (*)(int*)>);
static_assert(!opens_with<void (*)(error_code, std::size_t)>);
static_assert(!opens_with<int>);
static_assert(!opens_with<void (*)(std::exception_ptr)>);
static_assert(reads_with<void (*)(error_code, std::size_t)>);
static_assert(!reads_with<void (*)(error_code)>);

template <class Token>
concept transfers_with = requires(async_stream s, connection c, asio::mutable_buffer b, Token t)
{
    avirt::async_receive_all(
        s, [](asio::const_buffer) {}, {}, std::forward<Token>(t));
    avirt::async_send_all(s, b, {}, std::forward<Token>(t));
    avirt::async_receive_sparse(s, "", {}, std::forward<Token>(t));
    avirt::async_send_sparse(s, "", {}, std::forward<Token>(t));
    avirt::async_download(c, {"pool", "volume"}, "", {}, std::forward<Token>(t));
    avirt::async_upload(c, "", {"pool", "volume"}, {}, std::forward<Token>(t));
};
template <class Token>
concept takes_screenshots_with = requires(connection c, Token t)
{
    avirt::async_screenshot(c, avirt::screenshot{"vm1"}, std::forward<Token>(t));
};
template <class Token>
concept asks_for_volumes_with = requires(connection c, Token t)
{
    avirt::async_volume_info(c, {"pool", "volume"}, std::forward<Token>(t));
};
template <class Token>
concept relays_with = requires(async_stream a, asio::ip::tcp::socket b, Token t)
{
    avirt::async_relay(a, b, std::forward<Token>(t));
};
static_assert(transfers_with<asio::use_future_t<>>);
static_assert(transfers_with<void (*)(error_code, avirt::progress)>);
static_assert(!transfers_with<void (*)(error_code, std::size_t)>);
static_assert(!transfers_with<void (*)(error_code)>);
static_assert(takes_screenshots_with<void (*)(error_code, avirt::picture)>);
static_assert(!takes_screenshots_with<void (*)(error_code, avirt::progress)>);
static_assert(asks_for_volumes_with<void (*)(error_code, avirt::volume_info)>);
static_assert(!asks_for_volumes_with<void (*)(error_code, avirt::progress)>);
static_assert(relays_with<void (*)(error_code, std::uint64_t, std::uint64_t)>);
static_assert(!relays_with<void (*)(error_code, avirt::progress)>);

// A sink or a source that is none.
template <class Sink>
concept can_receive = requires(async_stream s, Sink t)
{
    avirt::async_receive_all(s, std::forward<Sink>(t), {}, asio::use_future);
};
template <class Source>
concept can_send = requires(async_stream s, Source f)
{
    avirt::async_send_all(s, std::forward<Source>(f), {}, asio::use_future);
};
static_assert(can_receive<async_stream&>);
static_assert(!can_receive<std::string&>);
static_assert(!can_receive<async_stream>);
static_assert(can_send<asio::const_buffer>);
static_assert(!can_send<std::string&>);
static_assert(!can_send<async_stream>);

// Openers and calls must be callable with the arguments that they are given.
template <class Opener>
concept can_open = requires(async_stream s, connection c, Opener o)
{
    s.async_open(c, std::forward<Opener>(o), asio::use_future);
};
static_assert(can_open<avirt::screenshot>);
static_assert(can_open<const avirt::console&>);
static_assert(can_open<int (*)(virConnectPtr, virStreamPtr)>);
static_assert(!can_open<int (*)(virConnectPtr)>);
static_assert(!can_open<std::string (*)(virConnectPtr, virStreamPtr)>);
static_assert(!can_open<const char*>);

template <class F>
concept can_be_called = requires(connection c, F f)
{
    c.async_call(std::forward<F>(f), asio::use_future);
};
static_assert(can_be_called<int (*)(virConnectPtr)>);
static_assert(can_be_called<decltype([owned = std::unique_ptr<int>()](virConnectPtr) {})>);
static_assert(!can_be_called<int (*)()>);
static_assert(!can_be_called<int (*)(virDomainPtr)>);
static_assert(!can_be_called<const char*>);

// Transfers complete with what was moved, taken or asked for.
template <class Operation>
using promised = std::invoke_result_t<Operation, connection&, async_stream&, const asio::use_future_t<>&>;
constexpr auto download = [](auto& c, auto&, const auto& token) {
    return avirt::async_download(c, {"pool", "volume"}, "", {}, token);
};
constexpr auto take_screenshot = [](auto& c, auto&, const auto& token) {
    return avirt::async_screenshot(c, avirt::screenshot{"vm1"}, token);
};
constexpr auto ask_for_volume = [](auto& c, auto&, const auto& token) {
    return avirt::async_volume_info(c, {"pool", "volume"}, token);
};
constexpr auto relay_to_itself = [](auto&, auto& s, const auto& token) {
    return avirt::async_relay(s, s, token);
};
static_assert(std::same_as<promised<decltype(download)>, std::future<avirt::progress>>);
static_assert(std::same_as<promised<decltype(take_screenshot)>, std::future<avirt::picture>>);
static_assert(std::same_as<promised<decltype(ask_for_volume)>, std::future<avirt::volume_info>>);
static_assert(
    std::same_as<promised<decltype(relay_to_itself)>, std::future<std::tuple<std::uint64_t, std::uint64_t>>>);

// A call completes with what the function returns.
template <class F>
using called = decltype(std::declval<connection&>().async_call(std::declval<F>(), asio::use_future));
static_assert(std::same_as<called<int (*)(virConnectPtr)>, std::future<int>>);
static_assert(std::same_as<called<void (*)(virConnectPtr)>, std::future<void>>);
static_assert(std::same_as<called<avirt::domain (*)(virConnectPtr)>, std::future<avirt::domain>>);
static_assert(std::same_as<called<decltype(&virConnectGetType)>, std::future<const char*>>);
static_assert(std::same_as<called<virDomainPtr (*)(virConnectPtr)>, std::future<avirt::domain>>);
static_assert(std::same_as<called<virNetworkPortPtr (*)(virConnectPtr)>, std::future<avirt::network_port>>);
static_assert(std::same_as<called<decltype(&virConnectGetHostname)>, std::future<std::string>>);
static_assert(
    std::same_as<
        called<decltype(avirt::calling(virDomainLookupByName, std::string()))>, std::future<avirt::domain>>);

// calling() copies the texts that it is given, whatever their type.
static_assert(std::same_as<
              decltype(avirt::calling(virDomainLookupByName, "vm1")),
              avirt::calling<virDomainPtr (*)(virConnectPtr, const char*), std::optional<std::string>>>);
static_assert(can_be_called<decltype(avirt::calling(virDomainLookupByName, std::string_view()))>);
static_assert(can_be_called<decltype(avirt::calling(virDomainCreateXML, std::string(), 0))>);
static_assert(can_be_called<
              decltype(avirt::calling([](virConnectPtr, std::unique_ptr<int>) {}, std::unique_ptr<int>()))>);
static_assert(can_be_called<decltype(avirt::calling(virDomainSuspend, avirt::domain()))>);
static_assert(!can_be_called<decltype(avirt::calling(virDomainSuspend, avirt::network()))>);
static_assert(!can_be_called<decltype(avirt::calling(virDomainLookupByName))>);
static_assert(can_open<decltype(avirt::calling([](virConnectPtr, virStreamPtr, int) { return 0; }, 1))>);
static_assert(!can_open<decltype(avirt::calling(virDomainLookupByName, "vm1"))>);

// A supervised connection cannot be used as the connection that it owns.
template <class On>
concept opens_on = requires(async_stream s, On& on)
{
    s.async_open(on, avirt::console{"vm1"}, asio::use_future);
};
static_assert(opens_on<connection>);
static_assert(!opens_on<avirt::supervised_connection>);
static_assert(
    !std::is_constructible_v<avirt::event_source<avirt::domain_lifecycle>, avirt::supervised_connection&>);

// Console sessions and their views.
static_assert(boost::beast::is_async_read_stream<avirt::console_view>::value);
static_assert(boost::beast::is_async_write_stream<avirt::console_session>::value);
static_assert(avirt::byte_source<avirt::console_view&>);
static_assert(std::is_constructible_v<avirt::console_session, avirt::supervised_connection&, avirt::console>);
static_assert(std::is_constructible_v<
              avirt::console_session, avirt::basic_supervised_connection<io_executor>&, avirt::console>);
static_assert(std::is_constructible_v<
              avirt::basic_console_view<io_executor>, avirt::basic_console_session<io_executor>&>);
static_assert(
    std::is_constructible_v<avirt::console_view, avirt::console_session&, avirt::console_view_options>);
static_assert(
    std::same_as<
        avirt::console_view::rebind_executor<io_executor>::other, avirt::basic_console_view<io_executor>>);
static_assert(
    std::same_as<
        decltype(std::declval<avirt::console_session&>().async_start(asio::use_future)), std::future<void>>);
static_assert(std::same_as<
              decltype(std::declval<avirt::console_session&>().async_wait_for(
                  avirt::console_state::attached, asio::use_future)),
              std::future<void>>);
static_assert(std::same_as<
              decltype(std::declval<avirt::console_session&>().async_write_some(
                  asio::const_buffer(), asio::use_future)),
              std::future<std::size_t>>);
static_assert(std::same_as<
              decltype(std::declval<avirt::console_view&>().async_read_some(
                  asio::mutable_buffer(), asio::use_future)),
              std::future<std::size_t>>);

// Only the types of events.hpp are events.
static_assert(avirt::libvirt_event<avirt::domain_lifecycle>);
static_assert(!avirt::libvirt_event<int>);
static_assert(!avirt::libvirt_event<avirt::connection>);

// Errors and conditions are what boost::system expects.
static_assert(std::is_convertible_v<avirt::error, error_code>);
static_assert(std::is_convertible_v<avirt::condition, boost::system::error_condition>);
static_assert(!std::is_convertible_v<avirt::condition, error_code>);
static_assert(std::is_base_of_v<boost::system::system_error, avirt::exception>);

// Types whose temporaries appear in co_await expressions have a constructor (GCC 12).
template <class T>
constexpr bool is_safe_temporary = std::is_class_v<T> && !std::is_aggregate_v<T>;
static_assert(is_safe_temporary<avirt::console>);
static_assert(is_safe_temporary<avirt::channel>);
static_assert(is_safe_temporary<avirt::screenshot>);
static_assert(is_safe_temporary<avirt::volume_locator>);
static_assert(is_safe_temporary<avirt::volume_download>);
static_assert(is_safe_temporary<avirt::volume_upload>);
static_assert(is_safe_temporary<avirt::open_options>);
static_assert(is_safe_temporary<avirt::transfer_limits>);
static_assert(is_safe_temporary<avirt::transfer_options>);
static_assert(is_safe_temporary<avirt::transfer_packets>);
static_assert(is_safe_temporary<avirt::calling<int (*)(virConnectPtr, int), int>>);
static_assert(std::is_convertible_v<std::string, avirt::open_options>);
static_assert(!std::is_convertible_v<std::string, avirt::console>);

// Every field has a default: designated initialisers may omit any of them without a warning.
[[maybe_unused]] const avirt::event_loop_options loop_options{.ignore_sigpipe = false};
[[maybe_unused]] const avirt::error_details details_of_an_error{.code = 1};
