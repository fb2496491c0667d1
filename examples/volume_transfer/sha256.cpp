// SPDX-License-Identifier: BSL-1.0
#include "sha256.hpp"

#include <array>
#include <stdexcept>

namespace {

void check(int result)
{
    if (result != 1)
        throw std::runtime_error("OpenSSL cannot compute a SHA-256");
}

} // namespace

sha256::sha256() : context_(EVP_MD_CTX_new())
{
    check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
}

void sha256::update(boost::asio::const_buffer data)
{
    check(EVP_DigestUpdate(context_.get(), data.data(), data.size()));
}

std::string sha256::digits()
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), &size));
    std::string result;
    for (unsigned i = 0; i < size; ++i) {
        constexpr auto hexadecimal = "0123456789abcdef";
        result += hexadecimal[digest[i] >> 4];
        result += hexadecimal[digest[i] & 15];
    }
    return result;
}
