// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "fault_stage.hpp"

#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// The fault matrix as data: rules, each of which says what is expected of many cells.

namespace faults {

template <class E>
concept dimension = std::is_same_v<E, operation> || std::is_same_v<E, fault> || std::is_same_v<E, peer>;

/// A set of operations, faults or peers.
template <dimension E>
struct set_of
{
    constexpr explicit set_of(unsigned b) : bits(b) {}
    constexpr set_of(E e) : bits(1u << static_cast<unsigned>(e)) {}

    constexpr bool contains(E e) const
    {
        return (bits & set_of(e).bits) != 0;
    }

    static constexpr set_of all()
    {
        return set_of(~0u);
    }

    constexpr set_of operator~() const
    {
        return set_of(~bits);
    }

    unsigned bits;
};

template <dimension E>
constexpr set_of<E> operator&(set_of<E> a, set_of<E> b)
{
    return set_of<E>(a.bits & b.bits);
}

template <dimension E>
constexpr set_of<E> operator~(E e)
{
    return ~set_of<E>(e);
}

template <dimension E>
constexpr set_of<E> operator|(set_of<E> a, set_of<E> b)
{
    return set_of<E>(a.bits | b.bits);
}

template <dimension E>
constexpr set_of<E> operator|(set_of<E> a, E b)
{
    return a | set_of<E>(b);
}

template <dimension E>
constexpr set_of<E> operator|(E a, set_of<E> b)
{
    return set_of<E>(a) | b;
}

template <dimension E>
constexpr set_of<E> operator|(E a, E b)
{
    return set_of<E>(a) | set_of<E>(b);
}

/// A part of what is expected: how docs/faults.md puts it, and how a test checks it.
struct expectation
{
    std::string words;
    void (*check)(stage&);
};

/// What is expected of all cells of these faults, operations and peers: what the operation completes with,
/// and what the stream is good for afterwards. Or why there are no such cells.
struct rule
{
    rule(
        set_of<fault> f, set_of<operation> o, set_of<peer> p, const expectation& now,
        const expectation& afterwards)
        : faults(f),
          operations(o),
          peers(p),
          completes(&now),
          then(&afterwards)
    {
    }

    rule(set_of<fault> f, set_of<operation> o, set_of<peer> p, std::string why)
        : faults(f),
          operations(o),
          peers(p),
          why_not(std::move(why))
    {
    }

    bool applies_to(fault f, operation o, peer p) const
    {
        return faults.contains(f) && operations.contains(o) && peers.contains(p);
    }

    /// libvirt 11.3's daemon does not survive these cells.
    rule& except_with_11_3()
    {
        is_fatal_to_11_3 = true;
        return *this;
    }

    std::string words() const
    {
        if (!completes)
            return why_not;
        return completes->words + (then->words.empty() ? "" : "; " + then->words)
            + (is_fatal_to_11_3 ? " (not tried with libvirt 11.3, whose daemon does not survive it)" : "");
    }

    set_of<fault> faults;
    set_of<operation> operations;
    set_of<peer> peers;
    const expectation* completes = nullptr;
    const expectation* then = nullptr;
    std::string why_not{};
    bool is_fatal_to_11_3 = false;
};

/// The name that the tests have, and what docs/faults.md says.
struct description
{
    const char* name;
    const char* heading;
    const char* words;
};

inline constexpr description of_operations[] = {
    {"read", "", "`async_read_some`"}, {"write", "", "`async_write_some`"},
    {"finish", "", "`async_finish`"},  {"abort", "", "`async_abort`"},
    {"open", "", "`async_open`"},      {"wait", "", "`async_wait`, for an error"},
    {"hole", "", "`async_read_hole`"}, {"idle", "", "nothing"},
};

inline constexpr description of_peers[] = {
    {"fake_own", "", "fake (own)"},        {"fake_shared", "", "fake (shared)"},
    {"private_own", "", "libvirtd (own)"}, {"private_shared", "", "libvirtd (shared)"},
    {"embedded", "", "embedded"},
};

inline constexpr description of_faults[] = {
    {"cancel_terminal", "Terminal cancellation",
     "The operation is cancelled with `cancellation_type::terminal`."},
    {"cancel_partial", "Partial cancellation",
     "The operation is cancelled with `cancellation_type::partial`."},
    {"cancel_total", "Total cancellation", "The operation is cancelled with `cancellation_type::total`."},
    {"cancel_after", "Timeout",
     "The operation has a token from `avirt::cancel_after`, and the time expires."},
    {"own_handler", "Destroyed in its own handler",
     "The operation completes. Its handler destroys the stream and the connection; with the embedded driver, "
     "only the stream, because all cells share the connection."},
    {"other_thread", "Destroyed on another thread",
     "Another thread destroys the stream while the operation is outstanding."},
    {"context", "Context destroyed",
     "The stream's execution context is destroyed while the operation is outstanding. The loop has another "
     "context here; [lifetime_test.cpp](../test/integration/lifetime_test.cpp) destroys one that has both."},
    {"sigstop", "SIGSTOP of the daemon", "The daemon is stopped, and goes on after SIGCONT."},
    {"sigkill", "SIGKILL of the daemon", "The daemon is killed."},
    {"takeover", "Console taken over", "Another stream opens the console with `VIR_DOMAIN_CONSOLE_FORCE`."},
    {"guest_destroyed", "Guest destroyed", "The guest whose console is open is destroyed."},
    {"guest_not_reading", "Guest that does not read", "The guest is suspended, and does not take its input."},
    {"no_space", "ENOSPC", "The daemon sends data, and then refuses what was written with ENOSPC."},
    {"bytewise", "Packets byte by byte",
     "The daemon's packets arrive one byte at a time. Those of libvirtd come through a proxy, which divides "
     "large ones into fewer pieces."},
    {"error_after_data", "Error after data", "The daemon sends data, and then an error."},
    {"close_after_data", "Close after data",
     "The daemon sends data, and then closes the connection. That to libvirtd is closed by a proxy: before "
     "the end of a download, or while the operation is outstanding."},
};

constexpr const description& describe(operation o)
{
    return of_operations[static_cast<std::size_t>(o)];
}

constexpr const description& describe(fault f)
{
    return of_faults[static_cast<std::size_t>(f)];
}

constexpr const description& describe(peer p)
{
    return of_peers[static_cast<std::size_t>(p)];
}

template <dimension E>
inline constexpr int count_of = 0;
template <>
inline constexpr int count_of<operation> = static_cast<int>(std::size(of_operations));
template <>
inline constexpr int count_of<fault> = static_cast<int>(std::size(of_faults));
template <>
inline constexpr int count_of<peer> = static_cast<int>(std::size(of_peers));

} // namespace faults
