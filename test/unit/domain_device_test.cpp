// SPDX-License-Identifier: BSL-1.0
#include "stream/domain_device.hpp"

#include <boost/test/unit_test.hpp>

#include <ostream>
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

} // namespace

BOOST_AUTO_TEST_SUITE(domain_device)

BOOST_AUTO_TEST_CASE(the_first_device_if_none_is_named)
{
    BOOST_TEST(find_device(xml, console_device, "") == device_search::found);
    BOOST_TEST(find_device(xml, channel_device, "") == device_search::found);
    BOOST_TEST(find_device("<domain/>", console_device, "") == device_search::not_found);
}

BOOST_AUTO_TEST_CASE(by_alias_or_target_name)
{
    BOOST_TEST(find_device(xml, console_device, "console0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_device, "channel0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_device, "org.qemu.guest_agent.0") == device_search::found);
    BOOST_TEST(find_device(xml, channel_device, "org.qemu") == device_search::not_found);
    BOOST_TEST(find_device(xml, channel_device, "console0") == device_search::not_found);
}

BOOST_AUTO_TEST_CASE(a_device_of_another_type_cannot_be_opened)
{
    BOOST_TEST(find_device(xml, console_device, "serial0") == device_search::wrong_type);
}

BOOST_AUTO_TEST_CASE(names_are_quoted_as_libvirt_quotes_them)
{
    BOOST_TEST(find_device(xml, channel_device, "a & 'b'") == device_search::wrong_type);
}

BOOST_AUTO_TEST_SUITE_END()
