// SPDX-License-Identifier: BSL-1.0
#include <avirt/event_source.hpp>

#include "connection_link.hpp"
#include "connection_reference.hpp"
#include "context_service.hpp"
#include "event_registry.hpp"
#include "pending.hpp"
#include "worker_pool.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <libvirt/virterror.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>

namespace avirt::detail {
namespace {

const error_code aborted = asio::error::operation_aborted;

// libvirt's functions, kind by kind ------------------------------------------------------------------------

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

/// Whether libvirt has the same function for the same events already.
bool is_taken()
{
    const virError* e = virGetLastError();
    return e && e->code == VIR_ERR_INVALID_ARG && e->message && std::strstr(e->message, "already tracked");
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

// What libvirt knows of a source ----------------------------------------------------------------------------

class event_source_impl_object;

/// One registration with libvirt: made on a worker thread, and taken back on one, whoever is left to see it.
class subscription final : public call_base, public std::enable_shared_from_this<subscription>
{
public:
    subscription(event_kind kind, std::string object, std::weak_ptr<event_source_impl_object> source)
        : kind_(kind),
          object_(std::move(object)),
          source_(std::move(source))
    {
    }

    std::shared_ptr<event_source_impl_object> source() const noexcept
    {
        return source_.lock();
    }

    failure run(virConnectPtr connection) noexcept override
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

    /// Has it taken back through the connection, in the order of its calls; completes handler then.
    void end(connection_impl& connection, call_handler handler);

private:
    class removal;

    const event_kind kind_;
    const std::string object_;
    const std::weak_ptr<event_source_impl_object> source_;
    std::mutex mutex_;
    bool has_ended_ = false;
    int id_ = -1;
    std::optional<connection_reference> connection_;
};

/// A call that happens in any case: on a worker thread of its own, where the connection is closed or its
/// context is gone before it begins.
class subscription::removal final : public call_base
{
public:
    removal(event_object object, int id, connection_reference connection)
        : object_(object),
          id_(id),
          connection_(std::move(connection))
    {
    }

    ~removal() override
    {
        if (id_ >= 0)
            worker_pool::instance().submit(
                [object = object_, id = id_, c = connection_]() mutable { take_back(object, id, c); },
                worker_pool::place::urgent);
    }

    failure run(virConnectPtr) noexcept override
    {
        take_back(object_, std::exchange(id_, -1), connection_);
        return {};
    }

private:
    static void take_back(event_object object, int id, connection_reference& connection)
    {
        remove(connection.get(), object, id);
        connection.drop();
    }

    const event_object object_;
    int id_;
    connection_reference connection_;
};

void subscription::end(connection_impl& connection, call_handler handler)
{
    std::shared_ptr<removal> call;
    {
        const std::lock_guard guard(mutex_);
        has_ended_ = true;
        if (connection_)
            call = std::make_shared<removal>(kind_.object, id_, *std::exchange(connection_, std::nullopt));
    }
    if (call)
        connection.async_call(std::move(call), std::move(handler), nullptr);
}

// The source ------------------------------------------------------------------------------------------------

class event_source_impl_object final : public event_source_impl,
                                       public context_object,
                                       public link_observer,
                                       public std::enable_shared_from_this<event_source_impl_object>
{
public:
    event_source_impl_object(
        const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection, event_kind kind,
        event_source_options options)
        : executor_(executor),
          connection_(std::move(connection)),
          kind_(kind),
          options_(std::move(options))
    {
    }

    void push(const subscription& from, std::unique_ptr<erased_event> event)
    {
        std::unique_ptr<erased_event> oldest; // Ends outside the lock.
        const std::lock_guard guard(mutex_);
        if (subscription_.get() != &from)
            return;
        if (events_.size() >= std::max<std::size_t>(options_.capacity, 1)) {
            oldest = std::move(events_.front());
            events_.pop_front();
            ++lost_;
            has_lost_ = true;
        }
        events_.push_back(std::move(event));
        feed();
    }

    void cancel() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
    }

    void close() noexcept override
    {
        const std::lock_guard guard(mutex_);
        abort_all();
        end_subscription([](const error_code&, bool) {});
    }

    std::uint64_t lost() noexcept override
    {
        const std::lock_guard guard(mutex_);
        return std::exchange(lost_, 0);
    }

    void shutdown() noexcept override
    {
        std::unique_lock held(mutex_);
        const auto subscribe = subscribe_.take();
        const auto receive = receive_.take();
        const auto unsubscribe = unsubscribe_.take();
        executor_ = {};
        held.unlock(); // The handlers end outside the lock: they may own this very source.
    }

    void async_subscribe(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return; // The context is gone, and with it everybody who could be told.
        const auto refused = subscribe_ || unsubscribe_ ? error::operation_in_progress
            : subscription_                             ? error::already_open
            : !connection_->native_handle()             ? error::not_open
                                                        : error{};
        if (refused != error{})
            return complete_now(subscribe_, std::move(handler), details, refused);
        on_cancel(
            handler, [weak = weak_from_this(), n = subscribe_.number() + 1](asio::cancellation_type type) {
                if (const auto self = weak.lock())
                    self->cancel_subscribe(n, type);
            });
        subscribe_.start(std::move(handler), executor_, details);
        events_.clear();
        end_ = {};
        link_ = connection_->link();
        subscription_ = std::make_shared<subscription>(kind_, options_.object, weak_from_this());
        call_details_ = std::make_shared<error_details>();
        connection_->async_call(
            subscription_,
            call_handler(asio::bind_cancellation_slot(
                cancel_call_.slot(),
                [self = shared_from_this(), d = call_details_, n = subscribe_.number()](error_code ec, bool) {
                    self->subscribed(n, {ec, *d});
                })),
            call_details_.get());
    }

    void async_receive(event_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        if (receive_)
            return complete_now(receive_, std::move(handler), details, error::operation_in_progress);
        on_cancel(handler, [weak = weak_from_this(), n = receive_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->cancel_receive(n);
        });
        receive_.start(std::move(handler), executor_, details);
        feed();
    }

    void async_unsubscribe(wait_handler handler, error_details* details) override
    {
        const std::lock_guard guard(mutex_);
        if (!executor_)
            return;
        const auto refused = subscribe_ || unsubscribe_ ? error::operation_in_progress
            : !subscription_                            ? error::not_open
                                                        : error{};
        if (refused != error{})
            return complete_now(unsubscribe_, std::move(handler), details, refused);
        receive_.complete(aborted, nullptr);
        on_cancel(handler, [weak = weak_from_this(), n = unsubscribe_.number() + 1](asio::cancellation_type) {
            if (const auto self = weak.lock())
                self->unsubscribed(n, aborted);
        });
        unsubscribe_.start(std::move(handler), executor_, details);
        end_subscription([self = shared_from_this(), n = unsubscribe_.number()](const error_code&, bool) {
            self->unsubscribed(n, {});
        });
    }

private:
    template <class Signature, class Handler>
    void complete_now(const pending<Signature>&, Handler handler, error_details* details, error e)
    {
        pending<Signature> p;
        p.start(std::move(handler), executor_, details);
        if constexpr (std::is_same_v<Handler, event_handler>)
            p.complete(e, nullptr);
        else
            p.complete(e);
    }

    void abort_all() noexcept
    {
        if (subscribe_) {
            subscribe_.complete(aborted);
            give_up_subscription();
        }
        receive_.complete(aborted, nullptr);
        unsubscribe_.complete(aborted);
    }

    /// Nobody waits for it any more: what libvirt registers nevertheless is taken back.
    void give_up_subscription() noexcept
    {
        end_subscription([](const error_code&, bool) {});
        cancel_call_.emit(asio::cancellation_type::partial);
    }

    template <class Handler>
    void end_subscription(Handler handler) noexcept
    {
        events_.clear();
        has_lost_ = false;
        if (const auto ended = std::exchange(subscription_, nullptr))
            ended->end(*connection_, call_handler(std::move(handler)));
    }

    void subscribed(std::uint64_t number, failure f)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        if (f)
            end_subscription([](const error_code&, bool) {});
        else if (link_)
            event_registry::instance().observe(*link_, weak_from_this());
        subscribe_.complete(std::move(f));
        if (link_ && link_->socket < 0)
            lose();
        feed();
    }

    void cancel_subscribe(std::uint64_t number, asio::cancellation_type type)
    {
        const std::lock_guard guard(mutex_);
        if (subscribe_.number() != number || !subscribe_)
            return;
        cancel_call_.emit(type); // It comes back as subscribed().
    }

    void cancel_receive(std::uint64_t number)
    {
        const std::lock_guard guard(mutex_);
        if (receive_.number() == number)
            receive_.complete(aborted, nullptr);
    }

    void unsubscribed(std::uint64_t number, error_code ec)
    {
        const std::lock_guard guard(mutex_);
        if (unsubscribe_.number() == number)
            unsubscribe_.complete(ec);
    }

    void lose()
    {
        if (!subscription_ || subscribe_)
            return;
        end_ = lost_failure(*link_);
        const auto ended = std::exchange(subscription_, nullptr);
        ended->end(*connection_, call_handler([](const error_code&, bool) {}));
        feed();
    }

    void feed()
    {
        if (!receive_)
            return;
        if (std::exchange(has_lost_, false))
            receive_.complete(error::events_lost, nullptr);
        else if (!events_.empty()) {
            auto next = std::move(events_.front());
            events_.pop_front();
            receive_.complete({}, std::move(next));
        }
        else if (!subscription_)
            receive_.complete(end_ ? end_ : failure(error::not_open), nullptr);
    }

    void on_served() override {}
    void on_writable() override {}
    void on_hung_up() override {}

    void on_lost() override
    {
        const std::lock_guard guard(mutex_);
        lose();
    }

    std::mutex mutex_;
    asio::any_io_executor executor_;
    const std::shared_ptr<connection_impl> connection_;
    const event_kind kind_;
    const event_source_options options_;
    std::shared_ptr<subscription> subscription_; // null: libvirt is not to report, or no longer
    std::shared_ptr<connection_link> link_;      // of the connection subscribed on
    asio::cancellation_signal cancel_call_;
    std::shared_ptr<error_details> call_details_;
    pending<void(error_code)> subscribe_;
    pending<void(error_code, std::unique_ptr<erased_event>)> receive_;
    pending<void(error_code)> unsubscribe_;
    std::deque<std::unique_ptr<erased_event>> events_;
    bool has_lost_ = false; // and the next receive is to tell
    std::uint64_t lost_ = 0;
    failure end_; // why there are no more
};

std::variant<int, unsigned, long long, unsigned long long, double, bool, std::string> value_of(
    const virTypedParameter& p)
{
    switch (p.type) {
    case VIR_TYPED_PARAM_INT:
        return p.value.i;
    case VIR_TYPED_PARAM_UINT:
        return p.value.ui;
    case VIR_TYPED_PARAM_LLONG:
        return p.value.l;
    case VIR_TYPED_PARAM_ULLONG:
        return p.value.ul;
    case VIR_TYPED_PARAM_DOUBLE:
        return p.value.d;
    case VIR_TYPED_PARAM_BOOLEAN:
        return p.value.b != 0;
    default:
        return to_member(p.value.s);
    }
}

} // namespace

event_source_impl::~event_source_impl() = default;

std::shared_ptr<event_source_impl> event_source_impl::make(
    const asio::any_io_executor& executor, std::shared_ptr<connection_impl> connection, event_kind kind,
    event_source_options options)
{
    auto object =
        std::make_shared<event_source_impl_object>(executor, std::move(connection), kind, std::move(options));
    context_objects::of(executor)->add(object);
    return object;
}

void event_source_impl::deliver(void* opaque, std::size_t, std::unique_ptr<erased_event> event) noexcept
{
    const auto subscribed = *static_cast<std::shared_ptr<subscription>*>(opaque);
    if (const auto source = subscribed->source())
        source->push(*subscribed, std::move(event));
}

graphics_address to_member(const virDomainEventGraphicsAddress* address)
{
    if (!address)
        return {};
    return {address->family, to_member(address->node), to_member(address->service)};
}

std::vector<graphics_identity> to_member(const virDomainEventGraphicsSubject* subject)
{
    std::vector<graphics_identity> result;
    for (int i = 0; subject && i < subject->nidentity; ++i)
        result.push_back({to_member(subject->identities[i].type), to_member(subject->identities[i].name)});
    return result;
}

std::vector<typed_parameter> to_parameters(const virTypedParameter* params, int nparams)
{
    std::vector<typed_parameter> result;
    for (int i = 0; i < nparams; ++i)
        result.push_back({params[i].field, value_of(params[i])});
    return result;
}

} // namespace avirt::detail
