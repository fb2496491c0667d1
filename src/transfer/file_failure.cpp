// SPDX-License-Identifier: BSL-1.0
#include "transfer/file_failure.hpp"

#include <libvirt/virterror.h>

#include <utility>

namespace avirt::detail {

failure file_failure(std::string what, int number)
{
    // As libvirt reports an errno.
    failure f(error_code(number, boost::system::system_category()));
    f.details.code = VIR_ERR_SYSTEM_ERROR;
    f.details.level = VIR_ERR_ERROR;
    f.details.int1 = number;
    f.details.message = std::move(what) + ": " + f.code.message();
    return f;
}

} // namespace avirt::detail
