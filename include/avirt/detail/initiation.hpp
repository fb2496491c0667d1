// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>
#include <avirt/detail/erase_handler.hpp>
#include <avirt/with_details.hpp>

#include <boost/asio/async_result.hpp>

#include <utility>

namespace avirt::detail {

/// Reaches the compiled implementation behind an I/O object.
struct access
{
    template <class Object>
    static const auto& implementation_of(Object& object)
    {
        return object.impl();
    }
};

/// Returns the std::shared_ptr to the implementation of an I/O object.
template <class Object>
const auto& implementation_of(Object& object)
{
    return access::implementation_of(object);
}

/// Initiates an operation of an I/O object: calls launch(object, handler, details, args...). The details are
/// those that with_details() has associated with the handler, or null.
template <class Object, class Launch>
class initiation
{
public:
    using executor_type = typename Object::executor_type;

    initiation(Object& object, Launch launch) noexcept : object_(&object), launch_(std::move(launch)) {}

    executor_type get_executor() const noexcept
    {
        return object_->get_executor();
    }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const
    {
        auto* details = get_associated_details(handler);
        launch_(*object_, std::forward<Handler>(handler), details, std::forward<Args>(args)...);
    }

private:
    Object* object_;
    Launch launch_;
};

/// Launches an operation by a member function of the implementation, which takes the arguments, the erased
/// handler and the details.
template <auto Member, class Signature>
struct launch_member
{
    template <class Object, class Handler, class... Args>
    void operator()(Object& object, Handler&& handler, error_details* details, Args&&... args) const
    {
        (*implementation_of(object).*Member)(
            std::forward<Args>(args)...,
            erase_handler<Signature>(std::forward<Handler>(handler), object.get_executor()), details);
    }
};

/// Initiates the operation of the implementation that Member launches.
template <auto Member, class Signature, class Object, class Token, class... Args>
auto initiate(Object& object, Token& token, Args&&... args)
{
    return asio::async_initiate<Token, Signature>(
        initiation(object, launch_member<Member, Signature>()), token, std::forward<Args>(args)...);
}

} // namespace avirt::detail
