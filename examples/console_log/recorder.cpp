// SPDX-License-Identifier: BSL-1.0
#include "recorder.hpp"

#include "say.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <set>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

namespace {

using names = std::vector<std::string>;

avirt::supervision_options supervision(const command_line& how)
{
    avirt::supervision_options options;
    options.open.uri = how.uri;
    options.longest_delay = std::chrono::seconds(5);
    return options;
}

/// Whether the URI is to blame: another attempt would fail in the same way.
bool is_permanent(const avirt::error_details& d)
{
    return d.domain == VIR_FROM_URI || d.code == VIR_ERR_NO_CONNECT || d.code == VIR_ERR_INVALID_ARG
        || d.code == VIR_ERR_CONFIG_UNSUPPORTED;
}

std::string said(const avirt::error_code& error, const avirt::error_details& details)
{
    return details.message.empty() ? error.message() : details.message;
}

bool is_due_to_connection(const avirt::error_code& ec)
{
    return ec == avirt::error::not_open || ec == asio::error::operation_aborted
        || ec == avirt::condition::connection_lost;
}

bool is_running(int state)
{
    return state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_SHUTDOWN && state != VIR_DOMAIN_CRASHED;
}

/// The aliases of the guest's consoles that can be opened, except for the one that is opened without an
/// alias. Runs on a worker thread.
names other_consoles(virConnectPtr connection, const std::string& guest)
{
    const auto devices = avirt::consoles_of(avirt::domain{virDomainLookupByName(connection, guest.c_str())});
    names result;
    for (const auto& d : devices) {
        const bool is_first = &d == &devices.front() && d.kind != "parallel";
        if (!is_first && d.can_be_opened && !d.alias.empty())
            result.push_back(d.alias);
    }
    return result;
}

} // namespace

recorder::recorder(asio::io_context& io, const command_line& how)
    : io_(io),
      how_(how),
      host_(io, supervision(how))
{
}

std::string recorder::host_name() const
{
    return how_.uri.empty() ? "libvirt's default host" : how_.uri;
}

asio::awaitable<void> recorder::run()
{
    avirt::host_feed feed{host_};
    for (;;) {
        auto [ec, report] = co_await feed.async_receive(asio::as_tuple(asio::use_awaitable));
        if (ec == avirt::error::not_open || ec == asio::error::operation_aborted)
            co_return;
        if (!ec) // Otherwise reports were lost, and the next one tells what there is now.
            std::visit([this](const auto& r) { on(r); }, report);
    }
}

void recorder::close()
{
    for (const auto& [which, r] : recordings_)
        r->close();
    host_.close();
}

void recorder::on(const avirt::host_connected& report)
{
    if (phase_ != phase::connected)
        say("connected to " + host_name() + '.');
    if (!std::exchange(was_connected_, true))
        say_which_guests_are_missing(report);
    phase_ = phase::connected;

    std::set<std::string> present;
    for (const auto& guest : report.domains)
        present.insert(guest.name);
    for (const auto& [which, r] : recordings_) {
        if (!present.contains(which.first))
            r->leave();
    }
    for (const auto& guest : report.domains)
        on_guest(guest, true);
}

void recorder::on(const avirt::host_disconnected& report)
{
    const auto why = said(report.error, report.details);
    if (phase_ == phase::begins && is_permanent(report.details))
        throw std::runtime_error("no connection to " + host_name() + " (--connect): " + why);
    if (phase_ == phase::connected)
        say("the connection to " + host_name() + " is lost: " + why
            + ". It is opened again as soon as possible.");
    else if (phase_ == phase::begins)
        say("no connection to " + host_name() + " yet: " + why
            + ". Is it running, and is the URI right (--connect)? It is tried again and again.");
    phase_ = phase::away;
}

void recorder::on(const avirt::domain_changed& report)
{
    if (!report.is_gone)
        return on_guest(report.status, report.event == VIR_DOMAIN_EVENT_STARTED);
    for (const auto& [which, r] : recordings_) {
        if (which.first == report.status.name)
            r->leave();
    }
}

void recorder::on_guest(const avirt::domain_status& guest, bool is_started)
{
    if (!is_asked_for(guest))
        return;
    begin({guest.name, ""});
    if (how_.all_consoles && is_started && is_running(guest.state))
        asio::co_spawn(io_, begin_other_consoles(guest.name), [](std::exception_ptr e) {
            if (e)
                std::rethrow_exception(e);
        });
}

void recorder::begin(const console_name& which)
{
    auto& present = recordings_[which];
    if (present)
        return present->stay();
    present = std::make_shared<recording>(host_, how_, which.first, which.second);
    asio::co_spawn(io_, present->run(), [this, which](std::exception_ptr e) {
        if (e)
            std::rethrow_exception(e);
        recordings_.erase(which);
    });
}

/// The devices have their names only while the guest runs.
asio::awaitable<void> recorder::begin_other_consoles(std::string guest)
{
    avirt::error_details details;
    const auto [ec, devices] = co_await host_.connection().async_call(
        avirt::calling(other_consoles, guest),
        avirt::with_details(asio::as_tuple(asio::use_awaitable), details));
    const bool has_gone = ec == avirt::condition::not_found || !recordings_.contains({guest, ""});
    if (has_gone || is_due_to_connection(ec)) // The devices are looked for again when there is a connection.
        co_return;
    if (ec)
        say(guest + ": only the first console is recorded, because the others cannot be listed: "
            + said(ec, details));
    for (const auto& device : devices)
        begin({guest, device});
}

void recorder::say_which_guests_are_missing(const avirt::host_connected& report) const
{
    for (const auto& name : how_.guests) {
        const bool is_there = std::ranges::any_of(
            report.domains, [&](const auto& guest) { return guest.name == name || guest.uuid == name; });
        if (!is_there)
            say("there is no guest '" + name + "' on " + host_name() + "; it is recorded when there is.");
    }
}

bool recorder::is_asked_for(const avirt::domain_status& guest) const
{
    const auto& asked = how_.guests;
    return asked.empty() || std::ranges::find(asked, guest.name) != asked.end()
        || std::ranges::find(asked, guest.uuid) != asked.end();
}
