// SPDX-License-Identifier: BSL-1.0
#include "loop/watch_events.hpp"

#include <sys/ioctl.h>
#include <sys/stat.h>

namespace avirt::detail {

bool is_socket_with_unread_bytes(int fd) noexcept
{
    struct stat status;
    int unread = 0;
    return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) && ::ioctl(fd, FIONREAD, &unread) == 0
        && unread > 0;
}

} // namespace avirt::detail
