// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/detail/config.hpp>

#include <boost/asio/associator.hpp>

namespace avirt::detail {

/// A completion handler that ends in another one, which handler() returns: everything that is associated with
/// that one (its executor, allocator, cancellation slot, error details) is associated with the adapter too.
template <class T>
concept handler_adapter = requires(const T& adapter)
{
    typename T::adapted_handler_type;
    adapter.handler();
};

} // namespace avirt::detail

template <template <class, class> class Associator, avirt::detail::handler_adapter Adapter, class Default>
struct boost::asio::associator<Associator, Adapter, Default>
    : Associator<typename Adapter::adapted_handler_type, Default>
{
    static auto get(const Adapter& adapter) noexcept
    {
        return Associator<typename Adapter::adapted_handler_type, Default>::get(adapter.handler());
    }

    static auto get(const Adapter& adapter, const Default& fallback) noexcept
    {
        return Associator<typename Adapter::adapted_handler_type, Default>::get(adapter.handler(), fallback);
    }
};
