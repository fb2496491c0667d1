// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "log_file.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

/// A time by both clocks: what it is called, and how long after others it is.
struct moment
{
    std::chrono::system_clock::time_point date = std::chrono::system_clock::now();
    std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
};

/// How output and events stand in a log.
class log_format
{
public:
    enum class kind { raw, timestamps, asciicast };

    /// @param title What is recorded.
    static std::unique_ptr<log_format> make(kind k, std::string title);

    virtual ~log_format() = default;

    /// Whether a log that exists may be continued.
    virtual log_file::existing existing_file() const noexcept = 0;

    /// Writes output. Removes from @p bytes what has been written: if an exception is thrown, the rest is
    /// left.
    virtual void output(log_file& file, std::string_view& bytes, moment now) = 0;

    /// Writes what has happened to the console, in one line.
    virtual void mark(log_file& file, std::string_view text, moment now) = 0;
};
