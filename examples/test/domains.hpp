// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>
#include <support/eventually.hpp>
#include <support/libvirtd.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

extern "C" const unsigned char avirt_demo_guest[512];

using states = std::map<std::string, std::string>;

inline void check(bool ok)
{
    if (!ok)
        avirt::throw_last_error();
}

/// The domains of the daemon.
class domains
{
public:
    explicit domains(const support::libvirtd& daemon) : daemon_(daemon) {}

    ~domains()
    {
        disconnect();
    }

    domains(const domains&) = delete;
    domains& operator=(const domains&) = delete;

    void connect()
    {
        connection_ = virConnectOpen(daemon_.uri().c_str());
        check(connection_ != nullptr);
    }

    void disconnect()
    {
        if (connection_)
            virConnectClose(std::exchange(connection_, nullptr));
    }

    void define(const std::string& name)
    {
        define_xml(daemon_.guest_xml(name, avirt_demo_guest));
    }

    void define_xml(const std::string& xml)
    {
        virDomainPtr domain = virDomainDefineXML(connection_, xml.c_str());
        check(domain != nullptr);
        virDomainFree(domain);
    }

    void change(const std::string& name, int (*function)(virDomainPtr))
    {
        virDomainPtr domain = virDomainLookupByName(connection_, name.c_str());
        check(domain != nullptr);
        const bool ok = function(domain) == 0;
        if (ok)
            virDomainFree(domain);
        check(ok);
    }

    /// After a restart the daemon reports a guest as active before it has found the guest; a job on the guest
    /// waits until then. Destroying the guest before then kills it, but fails as if the guest did not run.
    void suspend_when_found(const std::string& name)
    {
        virDomainPtr domain = virDomainLookupByName(connection_, name.c_str());
        check(domain != nullptr);
        BOOST_TEST(support::eventually([&] { return virDomainIsActive(domain) == 1; }));
        virDomainFree(domain);
        change(name, virDomainSuspend);
    }

    states now() const
    {
        virDomainPtr* all = nullptr;
        const int count = virConnectListAllDomains(connection_, &all, 0);
        check(count >= 0);
        states result;
        for (int i = 0; i < count; ++i) {
            int state = 0;
            if (virDomainGetState(all[i], &state, nullptr, 0) == 0) // Otherwise the domain has just gone.
                result[virDomainGetName(all[i])] = state == VIR_DOMAIN_RUNNING ? "running"
                    : state == VIR_DOMAIN_PAUSED                               ? "paused"
                                                                               : "shut off";
            virDomainFree(all[i]);
        }
        std::free(all);
        return result;
    }

private:
    const support::libvirtd& daemon_;
    virConnectPtr connection_ = nullptr;
};
