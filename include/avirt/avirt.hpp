// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/async_stream.hpp>
#include <avirt/calling.hpp>
#include <avirt/cancel_after.hpp>
#include <avirt/close_reason.hpp>
#include <avirt/connection.hpp>
#include <avirt/credential.hpp>
#include <avirt/domain_state.hpp>
#include <avirt/domain_status.hpp>
#include <avirt/error.hpp>
#include <avirt/event_loop.hpp>
#include <avirt/event_loop_options.hpp>
#include <avirt/event_loop_stats.hpp>
#include <avirt/event_source.hpp>
#include <avirt/event_source_options.hpp>
#include <avirt/events.hpp>
#include <avirt/handle.hpp>
#include <avirt/host_report.hpp>
#include <avirt/open_options.hpp>
#include <avirt/openers.hpp>
#include <avirt/own_connection.hpp>
#include <avirt/shared_connection.hpp>
#include <avirt/slow_callback_report.hpp>
#include <avirt/supervised_connection.hpp>
#include <avirt/supervision_options.hpp>
#include <avirt/with_details.hpp>
