// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "support/libvirtd.hpp"
#include "support/packet_proxy.hpp"

#include <libvirt/libvirt.h>

#include <map>
#include <mutex>
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
    void resume(const std::string& name = "echo");

private:
    void define(const std::string& name, const unsigned char* boot_sector);

    support::libvirtd libvirtd_;
    std::string uri_ = libvirtd_.uri();
    virConnectPtr connection_ = nullptr;
    std::map<std::string, virDomainPtr> guests_;
};

/// Records what the daemon sends of a guest's console.
struct wiretap
{
    std::mutex mutex;
    std::string console;
    support::packet_proxy proxy{
        daemon::instance().libvirtd().socket(), [this](const support::packet_proxy::packet& p) {
            const std::lock_guard guard(mutex);
            if (!p.from_client && p.is_stream_data())
                console += p.payload;
            return support::packet_proxy::verdict::pass;
        }};

    std::string seen()
    {
        const std::lock_guard guard(mutex);
        return console;
    }
};

} // namespace relay_test
