// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// The program's exit status.
enum exit_status {
    succeeded = 0,
    failed = 1,
    bad_usage = 2,
    interrupted = 130,
};

/// A volume as it is named on the command line.
struct volume_name
{
    std::string pool{};
    std::string name{};
};

/// What the user asks for.
struct command_line
{
    enum class verb { help, download, upload, copy };

    /// A volume, and the file that it is downloaded into, or that is uploaded into it.
    struct item
    {
        volume_name volume;
        std::filesystem::path file;
    };

    verb command = verb::help;
    std::string uri{};         ///< The volumes' host; for copy, the source's.
    std::vector<item> items{}; ///< For download and upload.
    volume_name from{};        ///< For copy, as the next two.
    std::string target_uri{};
    volume_name to{};

    int jobs = 1;
    std::uint64_t bytes_per_second = 0; ///< 0: no limit.
    bool resume = false;
    bool checksum = false;
    bool verify = false;
    bool sparse = true;
};

/// Throws std::exception if the command line is wrong.
command_line parse(int argc, char* argv[]);

/// What --help prints.
std::string help();
