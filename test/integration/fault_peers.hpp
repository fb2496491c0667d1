// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "fault_stage.hpp"

#include <support/gate.hpp>
#include <support/loop_fixture.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include <fcntl.h>
#include <unistd.h>

// The peers of the fault matrix.

namespace faults {

std::unique_ptr<stage> make_fake_stage(peer with, operation op, fault what);
std::unique_ptr<stage> make_private_stage(peer with, operation op, fault what);
std::unique_ptr<stage> make_embedded_stage(operation op, fault what);

/// Each cell has a loop of its own, except on the embedded driver.
struct own_loop
{
    support::loop_fixture fixture;
};

/// An opener that does not return before a gate opens.
template <class Opener>
opener behind(const support::gate& gate, Opener open)
{
    return [pass = gate.entry(), open](virConnectPtr c, virStreamPtr s) {
        pass();
        return open(c, s);
    };
}

/// A guest that echoes what is typed.
inline const std::string guest_name = "echo";

/// Keeps a guest's terminal open: QEMU looks only once a second whether a closed one is open again.
class open_terminal
{
public:
    open_terminal() = default;
    open_terminal(const open_terminal&) = delete;
    open_terminal& operator=(const open_terminal&) = delete;

    ~open_terminal()
    {
        close();
    }

    void open(virDomainPtr guest)
    {
        const std::unique_ptr<char, decltype(&std::free)> xml(virDomainGetXMLDesc(guest, 0), &std::free);
        const std::string text = xml ? xml.get() : "";
        const auto begin = std::min(text.find("/dev/pts/"), text.size());
        const auto path = text.substr(begin, text.find('\'', begin) - begin);
        const int fd = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
        close();
        fd_ = fd;
    }

private:
    void close()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }

    int fd_ = -1;
};

} // namespace faults
