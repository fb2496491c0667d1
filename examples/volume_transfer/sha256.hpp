// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/asio/buffer.hpp>
#include <openssl/evp.h>

#include <memory>
#include <string>

/// The SHA-256 of data that comes piece by piece.
class sha256
{
public:
    sha256();

    void update(boost::asio::const_buffer data);

    /// The digest in hexadecimal digits. Called once, at the end.
    std::string digits();

private:
    struct free_context
    {
        void operator()(EVP_MD_CTX* context) const noexcept
        {
            EVP_MD_CTX_free(context);
        }
    };

    std::unique_ptr<EVP_MD_CTX, free_context> context_;
};
