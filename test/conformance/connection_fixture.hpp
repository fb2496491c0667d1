// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "harness.hpp"

#include <libvirt/libvirt.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace conformance {

struct releaser
{
    void operator()(virDomain* domain) const
    {
        virDomainFree(domain);
    }
    void operator()(virNetwork* network) const
    {
        virNetworkFree(network);
    }
    void operator()(virStoragePool* pool) const
    {
        virStoragePoolFree(pool);
    }
    void operator()(virNodeDevice* device) const
    {
        virNodeDeviceFree(device);
    }
    void operator()(virStream* stream) const
    {
        virStreamFree(stream);
    }
};

using domain = std::unique_ptr<virDomain, releaser>;
using network = std::unique_ptr<virNetwork, releaser>;
using storage_pool = std::unique_ptr<virStoragePool, releaser>;
using node_device = std::unique_ptr<virNodeDevice, releaser>;
using stream = std::unique_ptr<virStream, releaser>;

/// Records a violation if the clause does not hold: Boost.Test cannot be used on the loop's threads.
void expect(bool holds, const char* clause);

/// One event subscription, and the events that libvirt has reported: "NAME EVENT", in the order of arrival.
class event_log
{
public:
    std::vector<std::string> lines() const
    {
        const std::scoped_lock lock{mutex_};
        return lines_;
    }
    std::size_t size() const
    {
        const std::scoped_lock lock{mutex_};
        return lines_.size();
    }
    int frees() const noexcept
    {
        return frees_;
    }

    /// Called on the loop, after an event was recorded.
    std::function<void()> on_event;

    int deregister()
    {
        return std::exchange(deregister_, nullptr)();
    }

private:
    friend struct connection_fixture;

    void record(const char* name, int event)
    {
        expect(frees_ == 0, "an event arrived after the free callback");
        {
            const std::scoped_lock lock{mutex_};
            lines_.push_back(std::string{name} + ' ' + std::to_string(event));
        }
        if (on_event)
            on_event();
    }

    static event_log& self(void* opaque)
    {
        return *static_cast<event_log*>(opaque);
    }
    static void on_domain(virConnectPtr, virDomainPtr d, int event, int, void* opaque)
    {
        self(opaque).record(virDomainGetName(d), event);
    }
    static int on_domain_the_old_way(virConnectPtr, virDomainPtr d, int event, int, void* opaque)
    {
        self(opaque).record(virDomainGetName(d), event);
        return 0;
    }
    static void on_network(virConnectPtr, virNetworkPtr n, int event, int, void* opaque)
    {
        self(opaque).record(virNetworkGetName(n), event);
    }
    static void on_pool(virConnectPtr, virStoragePoolPtr p, int event, int, void* opaque)
    {
        self(opaque).record(virStoragePoolGetName(p), event);
    }
    static void on_device(virConnectPtr, virNodeDevicePtr d, int event, int, void* opaque)
    {
        self(opaque).record(virNodeDeviceGetName(d), event);
    }
    static void on_free(void* opaque)
    {
        ++self(opaque).frees_;
    }

    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
    std::atomic<int> frees_{0};
    std::function<int()> deregister_;
};

/// A connection to libvirt's test driver, which runs in this process and has one domain, "test". At the end
/// everything is deregistered and must be freed, and the connection is closed.
struct connection_fixture : loop_fixture
{
    connection_fixture();
    ~connection_fixture();

    void open();
    int close();
    void teardown();

    domain test_domain() const;

    event_log& domain_events();
    event_log& domain_events_the_old_way();
    event_log& network_events();
    event_log& pool_events();
    event_log& device_events();

    virConnectPtr connection = nullptr;

private:
    event_log& new_log();
    event_log& registered(event_log& log, int id, int (*deregister)(virConnectPtr, int));
    void run_until_freed();

    std::vector<std::unique_ptr<event_log>> logs_;
};

} // namespace conformance
