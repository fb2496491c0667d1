// SPDX-License-Identifier: BSL-1.0
#include "product.hpp"

#include <boost/asio/use_awaitable.hpp>

template void tokens::launch_everything(environment&, const boost::asio::use_awaitable_t<>&);
