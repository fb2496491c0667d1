// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <avirt/avirt.hpp>

#include <filesystem>
#include <functional>
#include <string>

/// A small guest that echoes what is typed on its serial console (guest.S).
///
/// libvirt's embedded QEMU driver runs the guest inside this program, with all files in a temporary
/// directory: the system's libvirt is left untouched.
class demo_guest
{
public:
    static constexpr auto name = "avirt-demo";

    explicit demo_guest(std::filesystem::path directory);

    /// Where the guest is.
    std::string uri() const;

    /// Defines the guest; a session starts it.
    asio::awaitable<void> define(avirt::connection& connection);

    /// To be called after the console has been closed.
    asio::awaitable<void> destroy(avirt::connection& connection);

private:
    std::filesystem::path directory_;
    std::filesystem::path image_;
    avirt::domain domain_;
};

/// Calls @p use with the guest in a child process, and returns the exit status. Drops root privileges for
/// good; leaves no process and no file behind.
int with_demo_guest(const std::function<int(demo_guest&)>& use);

/// Holds a short conversation with the demo guest, which ends with switching it off.
asio::awaitable<ending> converse(relay& console);
