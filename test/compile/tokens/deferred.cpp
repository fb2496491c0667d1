// SPDX-License-Identifier: BSL-1.0
#include "product.hpp"

#include <boost/asio/deferred.hpp>

template void tokens::launch_everything(environment&, const boost::asio::deferred_t&);
