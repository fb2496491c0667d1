// SPDX-License-Identifier: BSL-1.0
#include "command_line.hpp"

#include <boost/program_options.hpp>

#include <charconv>
#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace po = boost::program_options;

namespace {

constexpr auto usage =
    R"(Usage: console_log [option]... [GUEST]...

Records the consoles of all guests of a host, or of the guests that are named, each to a file.
)";

constexpr auto remarks = R"(
The console of GUEST is recorded to DIR/GUEST.log. In the name, /, %, @, control characters and a dot at the
beginning are written as % and two hexadecimal digits. With --all-consoles, each further console of a guest is
recorded to DIR/GUEST@DEVICE.log. A file that exists is continued. When it would exceed BYTES it becomes
DIR/GUEST.log.1, the former GUEST.log.1 becomes GUEST.log.2, and so on up to N; the oldest is deleted. Only their
owner can read the files.

A guest is recorded whenever it runs, also if it is started, or defined, later. What it prints before its console
is open, or while libvirt's daemon is away, is not recorded: the first moment of a boot may be missing. A console
that another client has open is recorded when that client leaves it.

  raw         what the guest prints, and nothing else
  timestamps  Each line begins with the time in UTC. Then " | " and what the guest prints follow, or " * " and
              what has happened to the console.
  asciicast   asciicast v2, which asciinema plays; what has happened to the console is a marker. A file that
              exists becomes GUEST.log.1 when the program begins.

A file that cannot be written costs the other guests nothing; it is tried again whenever the guest prints
something. SIGINT and SIGTERM end the program, when everything that has been received is written. A second
signal ends it at once.

Exit status:
  0  ended by a signal
  1  failed
  2  wrong usage
)";

constexpr auto largest_keep = 1000;

struct texts
{
    std::string size = "10M";
    std::string format = "raw";
    int keep = 4;
};

po::options_description described(command_line& c, texts& t)
{
    po::options_description result("Options");
    // clang-format off
    result.add_options()
        ("connect", po::value(&c.uri)->value_name("URI"), "the host, such as qemu:///system; otherwise libvirt's default")
        ("directory", po::value(&c.directory)->value_name("DIR"), "where the files are (default: the current directory)")
        ("max-size", po::value(&t.size)->value_name("BYTES[K|M|G]"), "the size of a file; K: 1024 bytes; 0: no limit (default: 10M)")
        ("keep", po::value(&t.keep)->value_name("N"), "how many older files are kept of each console (default: 4)")
        ("format", po::value(&t.format)->value_name("FORMAT"), "raw, timestamps or asciicast (default: raw)")
        ("all-consoles", po::bool_switch(&c.all_consoles), "all consoles of a guest, not only the first")
        ("help", "show this");
    // clang-format on
    return result;
}

std::uint64_t parse_size(std::string_view text)
{
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
    unsigned shift = 0;
    if (suffix == "K")
        shift = 10;
    else if (suffix == "M")
        shift = 20;
    else if (suffix == "G")
        shift = 30;
    const bool is_number = error == std::errc() && (suffix.empty() || shift != 0);
    if (!is_number || number > std::numeric_limits<std::uint64_t>::max() >> shift)
        throw std::invalid_argument("'" + std::string(text) + "' is not a size such as 500K, 20M or 1G");
    return number << shift;
}

log_format::kind parse_format(const std::string& text)
{
    if (text == "raw")
        return log_format::kind::raw;
    if (text == "timestamps")
        return log_format::kind::timestamps;
    if (text == "asciicast")
        return log_format::kind::asciicast;
    throw std::invalid_argument("'" + text + "' is not a format: raw, timestamps or asciicast");
}

} // namespace

std::string help()
{
    command_line ignored;
    texts also_ignored;
    std::ostringstream out;
    out << usage << '\n' << described(ignored, also_ignored) << remarks;
    return std::move(out).str();
}

command_line parse(int argc, char* argv[])
{
    command_line c;
    texts t;
    po::options_description all;
    all.add(described(c, t)).add_options()("guest", po::value(&c.guests));
    po::positional_options_description unnamed;
    unnamed.add("guest", -1);
    po::variables_map given;
    po::store(po::command_line_parser(argc, argv).options(all).positional(unnamed).run(), given);
    po::notify(given);

    c.help = given.count("help") != 0;
    c.limits.max_size = parse_size(t.size);
    if (t.keep < 0 || t.keep > largest_keep)
        throw std::invalid_argument("--keep needs a number from 0 to " + std::to_string(largest_keep));
    c.limits.keep = static_cast<unsigned>(t.keep);
    c.format = parse_format(t.format);
    for (const auto& guest : c.guests) {
        if (guest.empty())
            throw std::invalid_argument("a guest needs a name");
    }
    return c;
}
