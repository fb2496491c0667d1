// SPDX-License-Identifier: BSL-1.0
#include "stream/domain_device.hpp"

#include <avirt/error.hpp>

#include <boost/test/unit_test.hpp>
#include <libvirt/virterror.h>

#include <ostream>
#include <string>
#include <string_view>

namespace avirt::detail {

static std::ostream& operator<<(std::ostream& out, device_search result)
{
    return out << static_cast<int>(result);
}

} // namespace avirt::detail

namespace {

using namespace avirt::detail;

constexpr std::string_view xml = R"(<domain type='qemu'><devices>
  <serial type='tcp'><source host='here'/><alias name='serial0'/></serial>
  <console type='pty' tty='/dev/pts/1'><target type='serial' port='0'/><alias name='console0'/></console>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/><alias name='channel0'/></channel>
  <channel type='spicevmc'><target type='virtio' name='a &amp; &apos;b&apos;'/></channel>
</devices></domain>)";

/// The consoles that a domain with these devices has, one in each line.
std::string listed(const std::string& devices)
{
    std::string lines;
    for (const auto& c : consoles_in("<domain type='qemu'><devices>" + devices + "</devices></domain>"))
        lines += c.alias + ' ' + c.kind + ' ' + c.type + ' ' + c.target
            + (c.can_be_opened ? ", can be opened\n" : "\n");
    return lines;
}

} // namespace

BOOST_AUTO_TEST_SUITE(domain_device)

BOOST_AUTO_TEST_CASE(the_first_device_if_none_is_named)
{
    BOOST_TEST(find_device(xml, console_kind, "") == device_search::found);
    BOOST_TEST(find_device(xml, channel_kind, "") == device_search::found);
    BOOST_TEST(find_device("<domain/>", console_kind, "") == device_search::not_found);
}

BOOST_AUTO_TEST_CASE(by_alias_or_target_name)
{
    BOOST_TEST(find_device(xml, console_kind, "console0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_kind, "channel0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_kind, "org.qemu.guest_agent.0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_kind, "org.qemu") == device_search::not_found);
    BOOST_TEST(find_device(xml, channel_kind, "console0") == device_search::not_found);
}

BOOST_AUTO_TEST_CASE(a_device_of_another_type_cannot_be_opened)
{
    BOOST_TEST(find_device(xml, console_kind, "serial0") == device_search::wrong_type);
}

BOOST_AUTO_TEST_CASE(names_with_entities)
{
    BOOST_TEST(find_device(xml, channel_kind, "a & 'b'") == device_search::wrong_type);
}

BOOST_AUTO_TEST_CASE(quotes_and_order_of_attributes_do_not_matter)
{
    const auto other =
        R"(<domain><devices><console tty="/dev/pts/1" type="pty"><alias name="c&#x31;"/></console>
        <!-- <serial type='pty'/> --></devices></domain>)";
    BOOST_TEST(find_device(other, console_kind, "c1") == device_search::found);
    BOOST_TEST(find_device(other, console_kind, "c&#x31;") == device_search::not_found);
}

BOOST_AUTO_TEST_CASE(a_name_of_something_else_is_not_the_devices_name)
{
    const auto other = R"(<domain><devices><channel type='unix'><source name='x'/><alias name='y'/></channel>
        </devices></domain>)";
    BOOST_TEST(find_device(other, channel_kind, "x") == device_search::not_found);
    BOOST_TEST(find_device(other, channel_kind, "y") == device_search::found);
}

BOOST_AUTO_TEST_CASE(malformed_xml)
{
    const auto is_xml_error = [](const avirt::exception& e) { return e.details().code == VIR_ERR_XML_ERROR; };
    for (const auto* text : {"<domain>", "no XML"})
        BOOST_CHECK_EXCEPTION(find_device(text, console_kind, ""), avirt::exception, is_xml_error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(console_device)

BOOST_AUTO_TEST_CASE(of_a_guest_that_runs)
{
    // As libvirt writes it: the serial device is repeated as the first console.
    BOOST_TEST(
        listed(R"(<serial type='pty'><source path='/dev/pts/1'/><target type='isa-serial' port='0'>
                <model name='isa-serial'/></target><alias name='serial0'/></serial>
            <serial type='tcp'><target type='isa-serial' port='1'/><alias name='serial1'/></serial>
            <console type='pty' tty='/dev/pts/1'><target type='serial' port='0'/><alias name='serial0'/></console>
            <console type='pty'><target type='virtio' port='1'/><alias name='console1'/></console>)")
        == "serial0 serial pty isa-serial, can be opened\n"
           "console1 console pty virtio, can be opened\n"
           "serial1 serial tcp isa-serial\n");
}

BOOST_AUTO_TEST_CASE(of_a_guest_that_does_not_run)
{
    BOOST_TEST(
        listed(R"(<serial type='pty'><target type='isa-serial' port='0'/></serial>
            <serial type='pty'><target type='isa-serial' port='1'/><alias name='ua-mine'/></serial>
            <serial type='pty'><target type='isa-serial' port='2'/></serial>
            <console type='pty'><target type='serial' port='0'/></console>
            <console type='pty'><target type='virtio' port='1'/></console>)")
        == " serial pty isa-serial, can be opened\n"
           " console pty virtio, can be opened\n"
           "ua-mine serial pty isa-serial, can be opened\n"
           " serial pty isa-serial, can be opened\n");
}

BOOST_AUTO_TEST_CASE(a_console_that_is_no_serial_device)
{
    // Of a container; and of a guest whose console comes first, and has a serial device, too.
    BOOST_TEST(
        listed("<console type='pty'><target type='lxc' port='0'/><alias name='console0'/></console>")
        == "console0 console pty lxc, can be opened\n");
    BOOST_TEST(
        listed(R"(<console type='file'><target type='sclp' port='0'/></console><serial type='pty'/>)")
        == " console file sclp\n serial pty , can be opened\n");
}

BOOST_AUTO_TEST_CASE(a_parallel_device_comes_last)
{
    BOOST_TEST(
        listed(R"(<parallel type='pty'><target port='0'/><alias name='parallel0'/></parallel>
            <serial type='udp'><alias name='serial0'/></serial>)")
        == "serial0 serial udp \nparallel0 parallel pty , can be opened\n");
}

BOOST_AUTO_TEST_CASE(an_alias_with_entities)
{
    BOOST_TEST(
        listed(R"(<serial type="pty"><alias name="ua-&lt;a&gt; &amp; &apos;b&apos; &#xe9;"/></serial>)")
        == "ua-<a> & 'b' \xc3\xa9 serial pty , can be opened\n");
}

BOOST_AUTO_TEST_CASE(no_console)
{
    BOOST_TEST(listed("<disk type='file'/><channel type='unix'/>") == "");
    BOOST_TEST(consoles_in("<domain type='test'/>").empty());
    BOOST_TEST(consoles_in("<capabilities><devices><console type='pty'/></devices></capabilities>").empty());
}

BOOST_AUTO_TEST_CASE(no_domain)
{
    BOOST_REQUIRE_EQUAL(virInitialize(), 0); // Otherwise libvirt reads its last error from anywhere.
    BOOST_CHECK_THROW(avirt::consoles_of(avirt::domain()), avirt::exception);
}

BOOST_AUTO_TEST_SUITE_END()
