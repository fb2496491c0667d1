// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <string_view>

/// Makes valid UTF-8 of bytes that come piece by piece. What is invalid becomes U+FFFD.
class utf8_text
{
public:
    /// Adds a piece. Returns what is complete; a character of which only a part has come is kept.
    std::string add(std::string_view bytes);

    /// Returns what stands for a character whose rest is not to come.
    std::string finish();

private:
    std::string incomplete_;
};
