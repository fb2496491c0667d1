// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/events.hpp>

#include <array>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

// Converts an event to text: all of its members in order, separated by spaces.

inline std::string text_of(const std::string& text)
{
    return "'" + text + "'";
}

template <class T>
requires std::is_arithmetic_v<T> std::string text_of(T number)
{
    return std::to_string(number);
}

template <class Object>
std::string text_of_uuid(Object object, int (*get)(Object, char*))
{
    std::array<char, VIR_UUID_STRING_BUFLEN> text{};
    return get(object, text.data()) < 0 ? "no UUID" : text.data();
}

inline std::string text_of(const avirt::domain& d)
{
    return virDomainGetName(d.get()) + (" " + text_of_uuid(d.get(), virDomainGetUUIDString)) + " "
        + std::to_string(static_cast<int>(virDomainGetID(d.get())));
}

inline std::string text_of(const avirt::network& n)
{
    return virNetworkGetName(n.get()) + (" " + text_of_uuid(n.get(), virNetworkGetUUIDString));
}

inline std::string text_of(const avirt::storage_pool& p)
{
    return virStoragePoolGetName(p.get()) + (" " + text_of_uuid(p.get(), virStoragePoolGetUUIDString));
}

inline std::string text_of(const avirt::node_device& d)
{
    return virNodeDeviceGetName(d.get());
}

inline std::string text_of(const avirt::secret& s)
{
    return text_of_uuid(s.get(), virSecretGetUUIDString) + " "
        + std::to_string(virSecretGetUsageType(s.get())) + " " + virSecretGetUsageID(s.get());
}

inline std::string text_of(const avirt::graphics_address& a)
{
    return "(" + text_of(a.family) + " " + text_of(a.node) + " " + text_of(a.service) + ")";
}

inline std::string text_of(const avirt::graphics_identity& i)
{
    return text_of(i.type) + ":" + text_of(i.name);
}

inline std::string text_of(const avirt::typed_parameter& p)
{
    static constexpr std::array types{"int", "uint", "llong", "ullong", "double", "bool", "string"};
    return p.field + ":" + types[p.value.index()] + ":"
        + std::visit([](const auto& value) { return text_of(value); }, p.value);
}

template <class T>
std::string text_of(const std::vector<T>& list)
{
    std::string text;
    for (const auto& element : list)
        text += (text.empty() ? "" : " ") + text_of(element);
    return "[" + text + "]";
}

/// Calls f with all members of the event. A member that is added to a type later is included.
template <class Event, class F>
auto with_members(const Event& event, F f)
{
    static_assert(!requires { Event{{}, {}, {}, {}, {}, {}, {}}; });
    if constexpr (requires { Event{{}, {}, {}, {}, {}, {}}; }) {
        const auto& [a, b, c, d, e, g] = event;
        return f(a, b, c, d, e, g);
    }
    else if constexpr (requires { Event{{}, {}, {}, {}, {}}; }) {
        const auto& [a, b, c, d, e] = event;
        return f(a, b, c, d, e);
    }
    else if constexpr (requires { Event{{}, {}, {}, {}}; }) {
        const auto& [a, b, c, d] = event;
        return f(a, b, c, d);
    }
    else if constexpr (requires { Event{{}, {}, {}}; }) {
        const auto& [a, b, c] = event;
        return f(a, b, c);
    }
    else if constexpr (requires { Event{{}, {}}; }) {
        const auto& [a, b] = event;
        return f(a, b);
    }
    else {
        const auto& [a] = event;
        return f(a);
    }
}

/// The text of all members but the object.
template <class Event>
std::string text_of_news(const Event& event)
{
    return with_members(event, [](const auto&, const auto&... members) {
        return (std::string() + ... + (" " + text_of(members)));
    });
}

template <class Event>
std::string text_of_event(const Event& event)
{
    return with_members(event, [](const auto& object, const auto&...) { return text_of(object); })
        + text_of_news(event);
}
