// SPDX-License-Identifier: BSL-1.0
#include "domains.hpp"
#include "http_client.hpp"
#include "serving_example.hpp"

#include <support/eventually.hpp>
#include <support/libvirtd.hpp>
#include <support/packet_proxy.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

// Runs the recipes that use a volume.

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_sanitized = true;
#else
constexpr bool is_sanitized = false;
#endif

constexpr std::size_t mebibyte = 1024 * 1024;

std::string text_of(std::size_t size)
{
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>('a' + i % 26 + i / 65536 % 5);
    return text;
}

struct volume_fixture
{
    static constexpr std::size_t size = 3 * mebibyte + 7;

    support::libvirtd daemon;
    const std::filesystem::path volume = daemon.make_volume("disk", size);
    const std::filesystem::path output = daemon.directory() / "output";

    volume_fixture()
    {
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        virConnectPtr connection = virConnectOpen(daemon.uri().c_str());
        check(connection);
        virStoragePoolPtr pool = virStoragePoolCreateXML(connection, daemon.pool_xml().c_str(), 0);
        check(pool);
        virStoragePoolFree(pool);
        virConnectClose(connection);
    }
};

struct upload_fixture : volume_fixture
{
    const std::filesystem::path file = daemon.directory() / "file";

    upload_fixture()
    {
        std::ofstream(file, std::ios::binary) << text_of(size);
    }
};

BOOST_FIXTURE_TEST_SUITE(upload_with_timeout, upload_fixture)

BOOST_AUTO_TEST_CASE(in_time)
{
    example e(UPLOAD_WITH_TIMEOUT, {file, "pool", "disk", "300", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 0, e.printed());
    BOOST_TEST(e.printed() == "3145735 of 3145735 bytes uploaded\n");
    BOOST_TEST((content(volume) == content(file)));
}

BOOST_AUTO_TEST_CASE(not_in_time)
{
    using proxy = support::packet_proxy;
    proxy stuck(daemon.socket(), [](const proxy::packet& p) {
        return p.from_client && p.is_stream_data() ? proxy::verdict::hold : proxy::verdict::pass;
    });
    example e(UPLOAD_WITH_TIMEOUT, {file, "pool", "disk", "1", stuck.uri()}, output);
    BOOST_TEST(e.end(0) == 1, e.printed());
    BOOST_TEST(e.has_printed(" of 3145735 bytes uploaded\n"), e.printed());
    BOOST_TEST(e.has_printed("not finished after 1 seconds\n"), e.printed());
}

BOOST_AUTO_TEST_CASE(no_volume)
{
    example e(UPLOAD_WITH_TIMEOUT, {file, "pool", "none", "300", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed("'none'"), e.printed());
}

BOOST_AUTO_TEST_CASE(no_file)
{
    const auto none = daemon.directory() / "none";
    example e(UPLOAD_WITH_TIMEOUT, {none, "pool", "disk", "300", daemon.uri()}, output);
    BOOST_TEST(e.end(0) == 1);
    BOOST_TEST(e.has_printed(none.string()), e.printed());
}

BOOST_AUTO_TEST_SUITE_END()

struct http_fixture : volume_fixture
{
    serving_example server{VOLUME_OVER_HTTP, {"0", daemon.uri()}, output};
    http_client client{server.port()};

    http_answer ask(const std::string& method, const std::string& target, const std::string& body = "")
    {
        http_client other(server.port());
        return other.ask(method, target, body);
    }
};

BOOST_FIXTURE_TEST_SUITE(volume_over_http, http_fixture)

BOOST_AUTO_TEST_CASE(get)
{
    const auto answer = client.ask("GET", "/pool/disk");
    BOOST_TEST(answer.status == 200);
    BOOST_TEST((answer.body == content(volume)));
    BOOST_TEST(client.is_closed());
}

BOOST_AUTO_TEST_CASE(put)
{
    const auto text = text_of(size);
    const auto answer = client.ask("PUT", "/pool/disk", text);
    BOOST_TEST(answer.status == 204, answer.body);
    BOOST_TEST((content(volume) == text));
}

BOOST_AUTO_TEST_CASE(put_less)
{
    const auto old = content(volume);
    BOOST_TEST(ask("PUT", "/pool/disk", "less").status == 204);
    BOOST_TEST((content(volume) == "less" + old.substr(4)));
    BOOST_TEST(ask("PUT", "/pool/disk").status == 204);
    BOOST_TEST((content(volume) == "less" + old.substr(4)));
}

BOOST_AUTO_TEST_CASE(put_in_chunks)
{
    client.send_raw("PUT /pool/disk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    const auto text = text_of(700'000);
    for (std::size_t i = 0; i < text.size(); i += 100'000)
        client.send_raw("186a0\r\n" + text.substr(i, 100'000) + "\r\n");
    client.send_raw("0\r\n\r\n");
    BOOST_TEST(client.receive().status == 204);
    BOOST_TEST((content(volume).substr(0, text.size()) == text));
}

BOOST_AUTO_TEST_CASE(put_when_asked_to)
{
    client.send_raw("PUT /pool/disk HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    BOOST_TEST(client.receive().status == 100);
    client.send_raw("abc");
    BOOST_TEST(client.receive().status == 204);
    BOOST_TEST(content(volume).substr(0, 3) == "abc");
}

BOOST_AUTO_TEST_CASE(put_too_much)
{
    const auto old = content(volume);
    const auto refused = client.ask("PUT", "/pool/disk", text_of(size + 1));
    BOOST_TEST(refused.status == 413);
    BOOST_TEST((content(volume) == old));

    http_client other(server.port());
    other.send_raw("PUT /pool/disk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    other.send_raw("500000\r\n" + text_of(0x500000) + "\r\n0\r\n\r\n");
    BOOST_TEST(other.receive().status == 413);
    BOOST_TEST(content(volume).size() == size);
}

BOOST_AUTO_TEST_CASE(requests_that_make_no_sense)
{
    for (const char* target : {"/", "/pool", "/pool/", "/pool/none", "/none/disk", "//disk"}) {
        BOOST_TEST(ask("GET", target).status == 404, target);
        BOOST_TEST(ask("PUT", target, "text").status == 404, target);
    }
    const auto unknown = ask("GET", "/pool/none");
    BOOST_TEST(unknown.body.find("'none'") != std::string::npos, unknown.body);
    const auto refused = ask("DELETE", "/pool/disk");
    BOOST_TEST(refused.status == 405);
    BOOST_TEST(refused.header.find("Allow: GET, PUT\r\n") != std::string::npos, refused.header);
    http_client other(server.port());
    other.send_raw("no HTTP at all\r\n\r\n");
    BOOST_TEST(other.is_closed());
}

BOOST_AUTO_TEST_CASE(clients_that_leave)
{
    {
        http_client other(server.port());
        other.send_raw("PUT /pool/disk HTTP/1.1\r\nContent-Length: 1000\r\n\r\nnot a thousand bytes");
        other.send_raw("");
    }
    {
        http_client other(server.port());
        other.send("GET", "/pool/disk");
    }
    BOOST_TEST(client.ask("GET", "/pool/disk").status == 200);
}

BOOST_AUTO_TEST_CASE(a_large_volume_is_not_held_in_memory)
{
    const std::size_t much = 64 * mebibyte;
    std::filesystem::resize_file(volume, much);
    const auto before = server.peak_bytes();
    BOOST_TEST(client.ask("GET", "/pool/disk").body.size() == much);
    BOOST_TEST(ask("PUT", "/pool/disk", std::string(much, 'x')).status == 204);
    if (!is_sanitized) // The allocator of a sanitizer keeps what is freed.
        BOOST_TEST(server.peak_bytes() < before + 24 * mebibyte);
}

BOOST_AUTO_TEST_CASE(the_daemon_goes_and_comes)
{
    daemon.leave(SIGKILL);
    BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.has_left(); }));
    const auto away = ask("GET", "/pool/disk");
    BOOST_TEST(away.status == 503, away.body);
    daemon.come_back();
    BOOST_TEST_REQUIRE(support::eventually([&] { return daemon.is_up(); }));
    BOOST_TEST(support::eventually([&] { return ask("GET", "/pool/disk").status == 200; }));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
