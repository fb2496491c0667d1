// SPDX-License-Identifier: BSL-1.0
#include "relay_daemon.hpp"

#include "relay_program.hpp"

#include <libvirt/virterror.h>

#include <optional>
#include <stdexcept>

extern "C" const unsigned char avirt_demo_guest[512];
extern "C" const unsigned char avirt_flood_guest[512];

namespace relay_test {
namespace {

[[noreturn]] void fail(const std::string& what)
{
    throw std::runtime_error(what + ": " + virGetLastErrorMessage());
}

} // namespace

daemon& daemon::instance()
{
    static std::optional<daemon> one(std::in_place);
    if (!one->libvirtd_.answers())
        one.emplace();
    return *one;
}

daemon::daemon(support::libvirtd::kind k) : libvirtd_(k)
{
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    connection_ = virConnectOpen(uri_.c_str());
    if (!connection_)
        fail("libvirtd does not answer");
    define("echo", avirt_demo_guest);
    define("flood", avirt_flood_guest);
}

void daemon::define(const std::string& name, const unsigned char* boot_sector)
{
    auto xml = libvirtd_.guest_xml(name, boot_sector);
    xml.insert(xml.find("<controller"), "<serial type='null'/>"); // serial1: no terminal
    guests_[name] = virDomainDefineXML(connection_, xml.c_str());
    if (!guests_[name])
        fail("the guest cannot be defined");
}

daemon::~daemon()
{
    // The guests end with the daemon's directory. A daemon of libvirt 11.3 may have deadlocked, and would
    // never answer (docs/libvirt.md, "What the daemon of libvirt 11.3 does not survive").
    libvirtd_.kill();
    for (const auto& [name, guest] : guests_)
        virDomainFree(guest);
    if (connection_)
        virConnectClose(connection_);
}

std::vector<std::string> daemon::on_guest(
    std::vector<std::string> more, const std::string& name, const std::string& uri)
{
    if (!is_running(name) && virDomainCreate(guests_.at(name)) < 0)
        fail("the guest cannot be started");
    return with_guest(std::move(more), name, uri);
}

std::vector<std::string> daemon::with_guest(
    std::vector<std::string> more, const std::string& name, const std::string& uri) const
{
    more.insert(more.end(), {"--connect", uri.empty() ? uri_ : uri, "--domain", name});
    return more;
}

bool daemon::is_running(const std::string& name) const
{
    return virDomainIsActive(guests_.at(name)) == 1;
}

void daemon::destroy(const std::string& name)
{
    virDomainDestroy(guests_.at(name));
}

void daemon::suspend(const std::string& name)
{
    virDomainSuspend(guests_.at(name));
}

void daemon::resume(const std::string& name)
{
    virDomainResume(guests_.at(name));
}

} // namespace relay_test
