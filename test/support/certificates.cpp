// SPDX-License-Identifier: BSL-1.0
#include "support/certificates.hpp"

#include "support/command.hpp"

#include <string>
#include <vector>

namespace support {
namespace {

void make(const std::filesystem::path& directory, const std::string& name, std::vector<std::string> further)
{
    std::vector<std::string> arguments{"openssl",  "req",
                                       "-x509",    "-nodes",
                                       "-newkey",  "ec",
                                       "-pkeyopt", "ec_paramgen_curve:prime256v1",
                                       "-subj",    "/CN=" + name,
                                       "-keyout",  directory / (name + "key.pem"),
                                       "-out",     directory / (name + "cert.pem")};
    arguments.insert(arguments.end(), further.begin(), further.end());
    run_command(std::move(arguments));
}

} // namespace

void make_certificates(const std::filesystem::path& directory)
{
    make(directory, "ca", {});
    // libvirt does not accept a certificate authority's certificate for a server or client, and compares the
    // address.
    for (const char* name : {"server", "client"})
        make(
            directory, name,
            {"-CA", directory / "cacert.pem", "-CAkey", directory / "cakey.pem", "-addext",
             "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"});
}

} // namespace support
