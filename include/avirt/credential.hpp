// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <functional>
#include <span>
#include <string>

namespace avirt {

/// Something that libvirt asks for before a daemon accepts a connection: virConnectCredential.
struct credential
{
    int type = 0;                 ///< virConnectCredentialType: what is asked for.
    std::string prompt{};         ///< The question, as it can be shown to a person.
    std::string challenge{};      ///< What the other side adds to the question.
    std::string default_result{}; ///< Used if the result is left empty.
    std::string result{};         ///< The answer, to be filled in.
};

/// Fills in the results of the credentials, or returns false to refuse.
///
/// It is called on a worker thread and may block.
using authenticator = std::function<bool(std::span<credential>)>;

} // namespace avirt
