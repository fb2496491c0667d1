// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>
#include <support/eventually.hpp>
#include <support/libvirtd.hpp>
#include <support/loop_fixture.hpp>
#include <support/shared_daemon.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>

#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <utility>

namespace asio = boost::asio;
using avirt::error_code;
using support::shared_daemon;

/// A connection opened with libvirt alone: avirt only knows its watches and timeouts.
class plain_connection
{
public:
    explicit plain_connection(const std::string& uri) : connection_(virConnectOpen(uri.c_str()))
    {
        if (!connection_)
            avirt::throw_last_error();
    }

    ~plain_connection()
    {
        BOOST_TEST(close());
    }

    plain_connection(const plain_connection&) = delete;
    plain_connection& operator=(const plain_connection&) = delete;

    virConnectPtr get() const noexcept
    {
        return connection_;
    }

    /// Returns whether this was the last reference.
    bool close()
    {
        virConnectPtr closed = std::exchange(connection_, nullptr);
        return !closed || virConnectClose(closed) == 0;
    }

private:
    virConnectPtr connection_;
};

/// Counts events of a connection. A derived class registers and deregisters the callback, which calls note().
class event_counter
{
public:
    event_counter(const event_counter&) = delete;
    event_counter& operator=(const event_counter&) = delete;

    int count() const noexcept
    {
        return count_;
    }

protected:
    /// @param act Called for each event, inside libvirt's callback.
    event_counter(virConnectPtr connection, std::function<void()> act)
        : connection_(connection),
          act_(std::move(act))
    {
    }

    ~event_counter() = default;

    void note()
    {
        ++count_;
        if (act_)
            act_();
    }

    /// Takes the id that libvirt's registration function returned.
    void set_id(int id)
    {
        if (id < 0)
            avirt::throw_last_error();
        id_ = id;
    }

    virConnectPtr connection_;
    int id_ = -1;

private:
    std::function<void()> act_;
    std::atomic<int> count_{0};
};

/// Counts the events of the test driver's domain.
class domain_events : public event_counter
{
public:
    explicit domain_events(virConnectPtr connection, std::function<void()> act = {})
        : event_counter(connection, std::move(act))
    {
        const auto callback = [](virConnectPtr, virDomainPtr, int, int, void* self) {
            static_cast<domain_events*>(self)->note();
        };
        set_id(virConnectDomainEventRegisterAny(
            connection_, nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(+callback), this,
            nullptr));
    }

    ~domain_events()
    {
        virConnectDomainEventDeregisterAny(connection_, id_);
    }

    /// Causes two events.
    bool provoke()
    {
        virDomainPtr domain = virDomainLookupByName(connection_, "test");
        const bool ok = domain && virDomainSuspend(domain) == 0 && virDomainResume(domain) == 0;
        if (domain)
            virDomainFree(domain);
        return ok;
    }
};

/// Counts the events of a daemon's storage pools.
class pool_events : public event_counter
{
public:
    explicit pool_events(virConnectPtr connection, std::function<void()> act = {})
        : event_counter(connection, std::move(act))
    {
        const auto callback = [](virConnectPtr, virStoragePoolPtr, int, int, void* self) {
            static_cast<pool_events*>(self)->note();
        };
        set_id(virConnectStoragePoolEventRegisterAny(
            connection_, nullptr, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
            VIR_STORAGE_POOL_EVENT_CALLBACK(+callback), this, nullptr));
    }

    ~pool_events()
    {
        virConnectStoragePoolEventDeregisterAny(connection_, id_);
    }

    /// Causes two events, over any connection to the daemon. Unless it is the connection that receives them,
    /// only the loop can have read the events.
    static bool provoke(virConnectPtr connection, const support::libvirtd& daemon)
    {
        virStoragePoolPtr pool = virStoragePoolCreateXML(connection, daemon.pool_xml().c_str(), 0);
        const bool ok = pool && virStoragePoolDestroy(pool) == 0;
        if (pool)
            virStoragePoolFree(pool);
        return ok;
    }
};

/// A connection inside this process and one to a daemon, which stay open when the loop is destroyed.
class live_connections
{
public:
    enum class keepalive { off, on };

    explicit live_connections(keepalive k = keepalive::off)
    {
        if (k == keepalive::on)
            BOOST_TEST(virConnectSetKeepAlive(remote_.get(), 5, 5) == 0);
    }

    /// Checks that both are served: events arrive, and a call gets its answer.
    void check_served(asio::io_context& io)
    {
        const int told = domains_.count();
        const int told_by_daemon = pools_.count();
        BOOST_TEST(domains_.provoke());
        // The events come last, so that no call reads them.
        auto answered = std::async(std::launch::async, [&] {
            return virConnectNumOfDomains(remote_.get()) >= 0
                && pool_events::provoke(provoker_.get(), shared_daemon());
        });
        support::run_until(
            io, [&] { return domains_.count() == told + 2 && pools_.count() == told_by_daemon + 2; });
        BOOST_TEST(answered.get());
    }

private:
    plain_connection test_{"test:///default"};
    plain_connection remote_{shared_daemon().uri()};
    plain_connection provoker_{shared_daemon().uri()};
    domain_events domains_{test_.get()};
    pool_events pools_{remote_.get()};
};
