// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <avirt/avirt.hpp>

#include <filesystem>
#include <functional>
#include <string>

/// A guest of our own, which echoes what is typed on its serial console (guest.S).
///
/// It is run by libvirt's embedded QEMU driver, inside this program, with all files in a temporary
/// directory: nothing of the system's libvirt is touched.
class demo_guest
{
public:
    static constexpr auto name = "avirt-demo";

    explicit demo_guest(std::filesystem::path directory) : directory_(std::move(directory)) {}

    /// Boots it on @p connection, paused: what a guest says is lost until its console is open.
    asio::awaitable<void> boot(avirt::connection& connection);
    asio::awaitable<void> resume(avirt::connection& connection);

    /// To be called when its console is closed.
    asio::awaitable<void> destroy(avirt::connection& connection);

private:
    std::filesystem::path directory_;
    avirt::domain domain_;
};

/// Calls @p use in a child process, with a place for the guest, and returns the exit status. Gives up root's
/// rights for good; leaves no process and no file behind.
int with_demo_guest(const std::function<int(demo_guest&)>& use);

/// Greets the demo guest, and says goodbye.
asio::awaitable<ending> converse(relay& console);
