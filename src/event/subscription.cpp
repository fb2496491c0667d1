// SPDX-License-Identifier: BSL-1.0
#include "event/subscription.hpp"

#include "core/worker_pool.hpp"
#include "loop/connection_use.hpp"

#include <libvirt/virterror.h>

#include <utility>

namespace avirt::detail {
namespace {

template <class Object, class Callback>
struct event_functions
{
    Object (*find_by_uuid)(virConnectPtr, const char*);
    Object (*find_by_name)(virConnectPtr, const char*);
    int (*add)(virConnectPtr, Object, int, Callback, void*, virFreeCallback);
    int (*remove)(virConnectPtr, int);
};

/// Calls use(functions) with those for the kind.
template <class Use>
auto with_functions(event_object object, Use use)
{
    switch (object) {
    case event_object::network:
        return use(event_functions<virNetworkPtr, virConnectNetworkEventGenericCallback>{
            virNetworkLookupByUUIDString, virNetworkLookupByName, virConnectNetworkEventRegisterAny,
            virConnectNetworkEventDeregisterAny});
    case event_object::storage_pool:
        return use(event_functions<virStoragePoolPtr, virConnectStoragePoolEventGenericCallback>{
            virStoragePoolLookupByUUIDString, virStoragePoolLookupByName,
            virConnectStoragePoolEventRegisterAny, virConnectStoragePoolEventDeregisterAny});
    case event_object::node_device: // They have no UUID.
        return use(event_functions<virNodeDevicePtr, virConnectNodeDeviceEventGenericCallback>{
            nullptr, virNodeDeviceLookupByName, virConnectNodeDeviceEventRegisterAny,
            virConnectNodeDeviceEventDeregisterAny});
    case event_object::secret: // They have no name.
        return use(event_functions<virSecretPtr, virConnectSecretEventGenericCallback>{
            virSecretLookupByUUIDString, nullptr, virConnectSecretEventRegisterAny,
            virConnectSecretEventDeregisterAny});
    case event_object::domain:
        break;
    }
    return use(event_functions<virDomainPtr, virConnectDomainEventGenericCallback>{
        virDomainLookupByUUIDString, virDomainLookupByName, virConnectDomainEventRegisterAny,
        virConnectDomainEventDeregisterAny});
}

template <class Object, class Callback>
handle<Object> find(
    const event_functions<Object, Callback>& f, virConnectPtr connection, const std::string& name)
{
    Object found = f.find_by_uuid ? f.find_by_uuid(connection, name.c_str()) : nullptr;
    if (!found && f.find_by_name)
        found = f.find_by_name(connection, name.c_str());
    return handle<Object>(found);
}

/// libvirt says that of a function that it has already for the same events, among other things: it has no
/// number for that alone.
bool is_taken()
{
    const virError* e = virGetLastError();
    return e && e->code == VIR_ERR_INVALID_ARG;
}

int add(
    virConnectPtr connection, const event_kind& kind, const std::string& object, void* opaque,
    virFreeCallback free)
{
    return with_functions(
        kind.object, [&]<class Object, class Callback>(const event_functions<Object, Callback>& f) {
            handle<Object> about;
            if (!object.empty()) {
                about = find(f, connection, object);
                if (!about)
                    return -1;
            }
            int id = -1;
            for (std::size_t i = 0; i < kind.callbacks.size() && id < 0 && (i == 0 || is_taken()); ++i)
                id = f.add(
                    connection, about.get(), kind.id, reinterpret_cast<Callback>(kind.callbacks[i]), opaque,
                    free);
            return id;
        });
}

void remove(virConnectPtr connection, event_object object, int id)
{
    if (with_functions(object, [&](auto f) { return f.remove(connection, id); }) < 0)
        virResetLastError(); // With the connection it is gone as well.
}

} // namespace

failure subscription::run(virConnectPtr connection) noexcept
{
    using held = std::shared_ptr<subscription>;
    auto opaque = std::make_unique<held>(shared_from_this());
    const int id =
        add(connection, kind_, object_, opaque.get(), [](void* o) { delete static_cast<held*>(o); });
    if (id < 0)
        return last_failure();
    static_cast<void>(opaque.release()); // libvirt's, until it calls that.
    {
        const std::lock_guard guard(mutex_);
        if (!has_ended_) {
            id_ = id;
            connection_.emplace(connection);
            return {};
        }
    }
    remove(connection, kind_.object, id);
    return {};
}

/// A call that happens in any case: on a worker thread of its own, where the connection is closed or its
/// context is gone before it begins.
class subscription::removal final : public call_base
{
public:
    removal(
        event_object object, int id, connection_reference connection,
        std::shared_ptr<connection_socket> socket)
        : object_(object),
          id_(id),
          connection_(std::move(connection)),
          socket_(std::move(socket))
    {
    }

    ~removal() override
    {
        if (id_ < 0)
            return;
        auto& pool = worker_pool::instance();
        pool.submit(pool.make([object = object_, id = id_, c = connection_, socket = socket_]() mutable {
            take_back(object, id, c, socket);
        }));
    }

    bool is_internal() const noexcept override
    {
        return true;
    }

    failure run(virConnectPtr) noexcept override
    {
        take_back(object_, std::exchange(id_, -1), connection_, socket_);
        return {};
    }

private:
    static void take_back(
        event_object object, int id, connection_reference& connection,
        const std::shared_ptr<connection_socket>& socket)
    {
        const daemon_wait work(socket);
        remove(connection.get(), object, id);
        connection.drop();
    }

    const event_object object_;
    int id_;
    connection_reference connection_;
    const std::shared_ptr<connection_socket> socket_;
};

void subscription::end(
    connection_impl& connection, std::shared_ptr<connection_socket> socket, call_handler handler)
{
    std::shared_ptr<removal> call;
    {
        const std::lock_guard guard(mutex_);
        has_ended_ = true;
        if (connection_)
            call = std::make_shared<removal>(
                kind_.object, id_, *std::exchange(connection_, std::nullopt), std::move(socket));
    }
    if (call)
        connection.async_call(std::move(call), std::move(handler), nullptr);
}

} // namespace avirt::detail
