// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "relay.hpp"

#include <memory>
#include <optional>
#include <string>

/// Parses the name of a key, such as "^]" or "q". Throws std::invalid_argument.
char parse_key(const std::string& text);

/// Relays the console to standard input and output, until the escape key or the end of input.
///
/// A terminal is in raw mode meanwhile.
asio::awaitable<ending> relay_to_terminal(relay& console, std::optional<char> escape);

/// Writes to standard output without changing its flags, because other processes may share it. What the relay
/// says goes to standard error.
std::unique_ptr<sink> standard_output(asio::any_io_executor executor);

/// Drops the output. What the relay says goes to standard error.
std::unique_ptr<sink> messages_only();
