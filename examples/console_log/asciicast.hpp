// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "log_format.hpp"
#include "utf8_text.hpp"

#include <string>

/// asciicast v2: a header, and an event in each line. What happens to the console is a marker.
class asciicast final : public log_format
{
public:
    explicit asciicast(std::string title);

    /// The times of a file count from its header on: another run of the program cannot continue it.
    log_file::existing existing_file() const noexcept override
    {
        return log_file::existing::rotated;
    }

    void output(log_file& file, std::string_view& bytes, moment now) override;
    void mark(log_file& file, std::string_view text, moment now) override;

private:
    void write_event(log_file& file, char code, std::string_view text, moment now);
    std::string header(moment now) const;

    const std::string title_;
    std::chrono::steady_clock::time_point begin_{}; // of the file
    utf8_text text_;
};
