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

/// Calls use(functions) with libvirt's functions for the kind of object.
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
    case event_object::node_device: // A node device has no UUID.
        return use(event_functions<virNodeDevicePtr, virConnectNodeDeviceEventGenericCallback>{
            nullptr, virNodeDeviceLookupByName, virConnectNodeDeviceEventRegisterAny,
            virConnectNodeDeviceEventDeregisterAny});
    case event_object::secret: // A secret has no name.
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

/// Whether libvirt may have refused a callback because it is registered already for the same events. libvirt
/// reports that by a number that it uses for other errors as well.
bool may_be_registered()
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
            for (std::size_t i = 0; i < kind.callbacks.size() && id < 0 && (i == 0 || may_be_registered());
                 ++i)
                id = f.add(
                    connection, about.get(), kind.id, reinterpret_cast<Callback>(kind.callbacks[i]), opaque,
                    free);
            return id;
        });
}

void remove(virConnectPtr connection, event_object object, int id)
{
    if (with_functions(object, [&](auto f) { return f.remove(connection, id); }) < 0)
        virResetLastError(); // If the connection is lost, so is the registration.
}

} // namespace

void event_source_impl::deliver(void* opaque, std::size_t, std::unique_ptr<erased_event> event) noexcept
{
    const auto subscribed = *static_cast<std::shared_ptr<subscription>*>(opaque);
    if (const auto receiver = subscribed->receiver())
        receiver->on_event(*subscribed, std::move(event));
}

failure subscription::run(virConnectPtr connection) noexcept
{
    using held = std::shared_ptr<subscription>;
    auto opaque = std::make_unique<held>(shared_from_this());
    const int id =
        add(connection, kind_, object_, opaque.get(), [](void* o) { delete static_cast<held*>(o); });
    if (id < 0)
        return last_failure();
    static_cast<void>(opaque.release()); // libvirt owns it, until it calls the free callback.
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

/// The call that removes a registration. If the connection is closed or its context ends before the call
/// begins, the registration is removed by a job of its own.
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
            remove_now(object, id, c, socket);
        }));
    }

    bool is_internal() const noexcept override
    {
        return true;
    }

    failure run(virConnectPtr) noexcept override
    {
        remove_now(object_, std::exchange(id_, -1), connection_, socket_);
        return {};
    }

private:
    static void remove_now(
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
