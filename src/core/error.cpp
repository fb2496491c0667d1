// SPDX-License-Identifier: BSL-1.0
#include <avirt/error.hpp>

#include <avirt/detail/failure.hpp>

#include <utility>

namespace avirt {

exception::exception(error_code code, error_details details)
    : boost::system::system_error(code),
      details_(std::move(details))
{
    if (!details_.message.empty())
        what_ = details_.message + " [" + code.to_string() + "]";
}

void throw_last_error()
{
    auto f = detail::last_failure();
    throw exception(f.code, std::move(f.details));
}

} // namespace avirt
