// SPDX-License-Identifier: BSL-1.0
#include "support/certificates.hpp"

#include "support/command.hpp"

#include <string>
#include <vector>

namespace support {
namespace {

void make(const std::filesystem::path& directory, const std::string& who, std::vector<std::string> further)
{
    std::vector<std::string> arguments{"openssl",  "req",
                                       "-x509",    "-nodes",
                                       "-newkey",  "ec",
                                       "-pkeyopt", "ec_paramgen_curve:prime256v1",
                                       "-subj",    "/CN=" + who,
                                       "-keyout",  directory / (who + "key.pem"),
                                       "-out",     directory / (who + "cert.pem")};
    arguments.insert(arguments.end(), further.begin(), further.end());
    run_command(std::move(arguments));
}

} // namespace

void make_certificates(const std::filesystem::path& directory)
{
    make(directory, "ca", {});
    // libvirt takes no certificate of an authority for anybody else's, and compares the address.
    for (const char* who : {"server", "client"})
        make(
            directory, who,
            {"-CA", directory / "cacert.pem", "-CAkey", directory / "cakey.pem", "-addext",
             "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"});
}

} // namespace support
