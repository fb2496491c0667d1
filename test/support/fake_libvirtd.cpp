// SPDX-License-Identifier: BSL-1.0
#include "support/fake_libvirtd.hpp"

#include "support/unix_socket.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <libvirt/virterror.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {
namespace {

// src/remote/remote_protocol.x and src/rpc/virnetprotocol.x
constexpr std::uint32_t program = 0x20008086;
constexpr std::uint32_t keepalive_program = 0x6b656570;
enum type : std::uint32_t { call, reply, message, stream, hole = 6 };
enum status : std::uint32_t { ok, failed, goes_on };
enum keepalive_procedure : std::uint32_t { ping = 1, pong };
enum procedure : std::uint32_t {
    connect_close = 2,
    domain_lookup_by_name = 23,
    network_lookup_by_name = 46,
    connect_supports_feature = 60,
    auth_list = 66,
    storage_pool_lookup_by_name = 84,
    storage_vol_lookup_by_path = 97,
    node_device_lookup_by_name = 113,
    secret_lookup_by_uuid = 141,
    old_domain_event_register_any = 167,
    old_domain_event_deregister_any = 168,
    storage_vol_download = 209,
    network_event_register_any = 313,
    network_event_deregister_any = 314,
    domain_event_register_any = 316,
    domain_event_deregister_any = 317,
    storage_pool_event_register_any = 368,
    storage_pool_event_deregister_any = 369,
    node_device_event_register_any = 374,
    node_device_event_deregister_any = 375,
    secret_event_register_any = 380,
    secret_event_deregister_any = 381
};
// src/libvirt_internal.h
constexpr std::uint32_t feature_program_keepalive = 10;
constexpr std::uint32_t feature_event_callback = 14;

struct header
{
    std::uint32_t length, program, version, procedure, type, serial, status;
};

std::string make_packet_of(
    std::uint32_t program_number, std::uint32_t procedure, std::uint32_t type, std::uint32_t serial,
    std::uint32_t status, std::string_view payload)
{
    const auto length = static_cast<std::uint32_t>(sizeof(header) + payload.size());
    auto p = xdr(length, program_number, 1, procedure, type, serial, status).bytes;
    p += payload;
    return p;
}

std::string make_packet(
    std::uint32_t procedure, std::uint32_t type, std::uint32_t serial, std::uint32_t status,
    std::string_view payload)
{
    return make_packet_of(program, procedure, type, serial, status, payload);
}

std::uint32_t first_number(std::string_view arguments)
{
    std::uint32_t number = 0;
    for (const char byte : arguments.substr(0, 4))
        number = number << 8 | static_cast<unsigned char>(byte);
    return number;
}

std::string error_body(int code, int domain, const std::string& text, int errno_number = 0)
{
    // No domain, three absent strings, two numbers, no network.
    const encoded rest = xdr(0, 0, 0, 0, errno_number, 0, 0);
    return xdr(code, domain, std::optional(text), 2 /* VIR_ERR_ERROR */, rest).bytes;
}

bool is_registration(std::uint32_t procedure)
{
    switch (procedure) {
    case domain_event_register_any:
    case network_event_register_any:
    case storage_pool_event_register_any:
    case node_device_event_register_any:
    case secret_event_register_any:
    case old_domain_event_register_any:
        return true;
    default:
        return false;
    }
}

} // namespace

std::string fake_libvirtd::session::packet(std::uint32_t status, std::string_view payload) const
{
    return make_packet(procedure_, stream, serial_, status, payload);
}

bool fake_libvirtd::session::data(std::string_view bytes)
{
    return send_all(*client_, packet(goes_on, bytes));
}

void fake_libvirtd::session::hole(std::uint64_t length)
{
    send_all(
        *client_, make_packet(procedure_, type::hole, serial_, goes_on, xdr(length, 0 /* no flags */).bytes));
}

void fake_libvirtd::session::fragments(std::string_view bytes)
{
    for (const char c : packet(goes_on, bytes))
        send_all(*client_, {&c, 1});
}

void fake_libvirtd::session::eof()
{
    send_all(*client_, packet(goes_on, {}));
}

void fake_libvirtd::session::error(int code, int domain, const std::string& text, int errno_number)
{
    send_all(*client_, packet(failed, error_body(code, domain, text, errno_number)));
}

void fake_libvirtd::session::event(std::uint32_t procedure, const encoded& body)
{
    send_all(*client_, make_packet(procedure, message, 0, ok, body.bytes));
}

void fake_libvirtd::session::part_of_event(std::uint32_t procedure, const encoded& body, std::size_t size)
{
    send_all(*client_, make_packet(procedure, message, 0, ok, body.bytes).substr(0, size));
}

void fake_libvirtd::session::close()
{
    ::shutdown(*client_, SHUT_RDWR);
}

fake_libvirtd::fake_libvirtd(script s) : fake_libvirtd(std::move(s), {}, {}) {}

fake_libvirtd::fake_libvirtd(registration_script s, event_style style)
    : fake_libvirtd({}, std::move(s), style)
{
}

fake_libvirtd::fake_libvirtd(script console, registration_script registered, event_style style)
    : console_script_(std::move(console)),
      registration_script_(std::move(registered)),
      event_style_(style)
{
    listener_ = listen_on(socket_path());
    thread_ = std::thread([this] { serve(); });
}

fake_libvirtd::~fake_libvirtd()
{
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
}

std::string fake_libvirtd::uri() const
{
    return "qemu+unix:///session?socket=" + socket_path().string();
}

void fake_libvirtd::answer(std::uint32_t procedure, const encoded& body)
{
    set_answer(procedure, {ok, body.bytes});
}

void fake_libvirtd::answer_running_domains(const std::vector<encoded>& domains)
{
    const auto integer = [](const char* name, int value) {
        return xdr(name, int{VIR_TYPED_PARAM_INT}, value);
    };
    const std::vector state{
        integer("state.state", VIR_DOMAIN_RUNNING), integer("state.reason", VIR_DOMAIN_RUNNING_BOOTED)};
    std::vector<encoded> stats;
    for (const auto& domain : domains)
        stats.push_back(xdr(domain, state));
    answer(connect_list_all_domains, xdr(domains, static_cast<int>(domains.size())));
    answer(connect_get_all_domain_stats, xdr(stats));
}

void fake_libvirtd::refuse(std::uint32_t procedure, int code, int domain, const std::string& message)
{
    set_answer(procedure, {failed, error_body(code, domain, message)});
}

void fake_libvirtd::hang_up_at(std::uint32_t procedure)
{
    set_answer(procedure, {ok, {}, true});
}

void fake_libvirtd::set_answer(std::uint32_t procedure, other_answer a)
{
    const std::lock_guard guard(mutex_);
    other_answers_[procedure] = std::move(a);
}

std::optional<fake_libvirtd::other_answer> fake_libvirtd::other_answer_to(std::uint32_t procedure) const
{
    const std::lock_guard guard(mutex_);
    const auto found = other_answers_.find(procedure);
    return found == other_answers_.end() ? std::nullopt : std::optional(found->second);
}

void fake_libvirtd::before_answer(std::uint32_t procedure, std::function<void()> function)
{
    const std::lock_guard guard(mutex_);
    before_answers_[procedure] = std::move(function);
}

void fake_libvirtd::prepare_answer(std::uint32_t procedure) const
{
    std::function<void()> function;
    {
        const std::lock_guard guard(mutex_);
        const auto found = before_answers_.find(procedure);
        if (found != before_answers_.end())
            function = found->second;
    }
    if (function)
        function();
}

void fake_libvirtd::serve()
{
    struct client
    {
        socket connected;
        std::thread thread;
    };
    std::vector<client> clients;
    for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        const socket connected(new int(fd), [](const int* closed) {
            ::close(*closed);
            delete closed;
        });
        clients.push_back({connected, std::thread([this, connected] { serve_client(connected); })});
    }
    for (auto& c : clients) {
        ::shutdown(*c.connected, SHUT_RDWR);
        c.thread.join();
    }
}

void fake_libvirtd::serve_client(const socket& client)
{
    const int fd = *client;
    bool is_closed = false;
    std::array<std::uint32_t, 7> words{};
    // Until the client hangs up: if the daemon does so as well after the client has closed, libvirt 9.0.0 may
    // leak an error.
    while (receive_all(fd, words.data(), sizeof words)) {
        for (auto& w : words)
            w = ntohl(w);
        const auto [length, prog, version, proc, kind, serial, state] = words;
        std::string payload(length - sizeof words, '\0');
        if (!receive_all(fd, payload.data(), payload.size()))
            break;
        if (kind == stream && state == goes_on) {
            received_ += payload.size();
            continue; // Data that the client writes is discarded.
        }
        if (prog == keepalive_program) {
            ++keepalives_;
            if (answers_keepalives_ && proc == ping)
                send_all(fd, make_packet_of(keepalive_program, pong, message, 0, ok, {}));
            continue;
        }
        if (const int how = ending_; how != no_ending) {
            ::shutdown(fd, how);
            ending_ = no_ending;
            continue;
        }
        if (kind == stream && state == failed)
            ++aborts_;
        is_closed = is_closed || (kind == call && proc == connect_close);
        if (kind == call)
            prepare_answer(proc);
        if (const auto other = kind == call ? other_answer_to(proc) : std::nullopt) {
            if (other->is_none)
                ::shutdown(fd, SHUT_RDWR);
            else
                send_all(fd, make_packet(proc, reply, serial, other->status, other->body));
            continue;
        }
        if (kind == stream)
            send_all(fd, make_packet(proc, stream, serial, ok, {}));
        else if (event_style_ == event_style::none && is_registration(proc)) {
            register_client(client, false, payload);
            send_all(
                fd,
                make_packet(
                    proc, reply, serial, failed,
                    error_body(VIR_ERR_NO_SUPPORT, VIR_FROM_REMOTE, "this function is not supported")));
        }
        else
            send_all(fd, make_packet(proc, reply, serial, ok, answer_to(client, proc, payload)));
        if (kind == call && (proc == domain_open_console || proc == storage_vol_download)) {
            session s(client, proc, serial);
            console_script_(s);
        }
    }
    if (!is_closed)
        ++losses_;
    ++departures_;
    ::shutdown(fd, SHUT_RDWR);
}

std::string fake_libvirtd::answer_to(
    const socket& client, std::uint32_t procedure, std::string_view arguments)
{
    const encoded uuid{std::string(16, 'u')};
    switch (procedure) {
    case auth_list:
        return xdr(1, 0).bytes; // One method: no authentication.
    case connect_supports_feature: {
        const auto feature = first_number(arguments);
        const bool has_ids =
            feature == feature_event_callback && event_style_ == event_style::with_callback_ids;
        return xdr(has_ids || feature == feature_program_keepalive ? 1 : 0).bytes;
    }
    case domain_lookup_by_name:
        return xdr("vm", uuid, 1).bytes;
    case network_lookup_by_name:
    case storage_pool_lookup_by_name:
        return xdr("vm", uuid).bytes;
    case storage_vol_lookup_by_path:
        return xdr("pool", "vm", "key").bytes;
    case node_device_lookup_by_name:
        return xdr("vm").bytes;
    case secret_lookup_by_uuid:
        return xdr(uuid, 0, "").bytes;
    case connect_list_all_domains:
        return xdr(0, 0).bytes; // An empty list, and its length.
    case connect_get_all_domain_stats:
        return xdr(0).bytes; // An empty list.
    case connect_get_lib_version:
        return xdr(std::uint64_t{9'000'000}).bytes;
    case old_domain_event_deregister_any:
    case domain_event_deregister_any:
    case network_event_deregister_any:
    case storage_pool_event_deregister_any:
    case node_device_event_deregister_any:
    case secret_event_deregister_any:
        --registrations_;
        return {};
    default:
        if (is_registration(procedure))
            return register_client(client, procedure != old_domain_event_register_any, arguments);
        return {};
    }
}

std::string fake_libvirtd::register_client(
    const socket& client, bool has_callback_id, std::string_view arguments)
{
    constexpr std::size_t before_object = 8; // The event, and whether an object follows.
    const int id = has_callback_id ? next_callback_id_++ : -1;
    ++registrations_;
    if (registration_script_)
        registration_script_(
            session(client, 0, 0),
            {static_cast<int>(first_number(arguments)), id,
             std::string(arguments.substr(std::min(arguments.size(), before_object)))});
    return has_callback_id ? xdr(id).bytes : std::string();
}

} // namespace support
