// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/calling.hpp>
#include <avirt/cancel_after.hpp>
#include <avirt/connection.hpp>
#include <avirt/domain_state.hpp>
#include <avirt/error.hpp>
#include <avirt/event_loop.hpp>
#include <avirt/event_source.hpp>
#include <avirt/events.hpp>
#include <avirt/handle.hpp>
#include <avirt/openers.hpp>
#include <avirt/supervised_connection.hpp>
