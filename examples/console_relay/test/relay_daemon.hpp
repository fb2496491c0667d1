// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "support/libvirtd.hpp"

#include <libvirt/libvirt.h>

#include <map>
#include <string>
#include <vector>

namespace relay_test {

/// A private libvirtd with two guests: "echo", the demo guest, and "flood", which prints without end. Tests
/// that do the daemon no harm share instance().
class daemon
{
public:
    static daemon& instance();
    explicit daemon(support::libvirtd::kind k = support::libvirtd::kind::session);
    ~daemon();
    daemon(const daemon&) = delete;
    daemon& operator=(const daemon&) = delete;

    const std::string& uri() const noexcept
    {
        return uri_;
    }

    support::libvirtd& libvirtd() noexcept
    {
        return libvirtd_;
    }

    /// Starts the guest if necessary, and returns options for a relay on it.
    /// @param uri Another way to the daemon. If empty, the daemon's own URI is used.
    std::vector<std::string> on_guest(
        std::vector<std::string> more = {}, const std::string& name = "echo", const std::string& uri = {});
    /// The same without starting the guest.
    std::vector<std::string> with_guest(
        std::vector<std::string> more = {}, const std::string& name = "echo",
        const std::string& uri = {}) const;

    bool is_running(const std::string& name = "echo") const;
    void destroy(const std::string& name = "echo");
    void suspend(const std::string& name = "echo");

private:
    void define(const std::string& name, const unsigned char* boot_sector);

    support::libvirtd libvirtd_;
    std::string uri_ = libvirtd_.uri();
    virConnectPtr connection_ = nullptr;
    std::map<std::string, virDomainPtr> guests_;
};

} // namespace relay_test
