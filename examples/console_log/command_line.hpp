// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "log_file.hpp"
#include "log_format.hpp"

#include <filesystem>
#include <string>
#include <vector>

/// The program's exit status.
enum exit_status {
    succeeded = 0,
    failed = 1,
    bad_usage = 2,
};

/// What the user asks for.
struct command_line
{
    std::string uri{}; ///< Empty: libvirt's default.
    std::filesystem::path directory = ".";
    log_limits limits{};
    log_format::kind format = log_format::kind::raw;
    bool all_consoles = false;
    std::vector<std::string> guests{}; ///< Names and UUIDs; empty: all guests.
    bool help = false;
};

/// Throws std::exception if the command line is wrong.
command_line parse(int argc, char* argv[]);

/// What --help prints.
std::string help();
