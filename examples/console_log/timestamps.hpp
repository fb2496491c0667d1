// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "log_format.hpp"

/// Lines that begin with the time in UTC:
///
///     2026-01-31T12:00:00.000Z | what the guest prints
///     2026-01-31T12:00:00.000Z * what has happened to the console
///
/// Whatever the guest prints, it cannot make a line of the second kind.
class timestamps final : public log_format
{
public:
    log_file::existing existing_file() const noexcept override
    {
        return log_file::existing::continued;
    }

    void output(log_file& file, std::string_view& bytes, moment now) override;
    void mark(log_file& file, std::string_view text, moment now) override;
};
