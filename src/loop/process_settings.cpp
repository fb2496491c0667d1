// SPDX-License-Identifier: BSL-1.0
#include "loop/process_settings.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>

namespace avirt::detail {
namespace {

void ignore_sigpipe() noexcept
{
    struct sigaction action;
    if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        ::sigaction(SIGPIPE, &action, nullptr);
    }
}

} // namespace

void apply_process_settings(const event_loop_options& options)
{
    static const bool once = [&] {
        if (options.ignore_sigpipe)
            ignore_sigpipe();
        if (options.silence_libvirt)
            virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        return true;
    }();
    static_cast<void>(once);
}

} // namespace avirt::detail
