// SPDX-License-Identifier: BSL-1.0
#include "command_line.hpp"

#include <boost/program_options.hpp>

#include <charconv>
#include <limits>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace fs = std::filesystem;
namespace po = boost::program_options;

namespace {

constexpr auto usage =
    R"(Usage: volume_transfer download URI POOL/VOLUME FILE
       volume_transfer download URI POOL/VOLUME... DIRECTORY
       volume_transfer upload FILE URI POOL/VOLUME
       volume_transfer upload FILE... URI POOL
       volume_transfer copy URI POOL/VOLUME URI POOL/VOLUME

Transfers the content of storage volumes to files, from files, and between two hosts. Holes stay holes.
)";

constexpr auto remarks = R"(
A download writes ".FILE.part" beside FILE, and renames it when it is complete. An upload and a copy write to a
volume that exists, and that is large enough. libvirt cannot erase data in the place of a hole; so in a volume
that has data already, holes are filled with zeros. A copy leaves nothing on the local disk.

  --resume    An interrupted download is continued from ".FILE.part", which is kept for that if the download
              was begun with --resume, too. An interrupted upload or copy is continued from what the volume
              contains: it is read, and compared with the source.
  --verify    When everything is transferred, the target is read back and compared with the source.
  --checksum  When everything is transferred, source and target are read, as far as they were transferred, with
              zeros in the place of holes. The SHA-256 of the target is printed, as sha256sum prints it; if it is
              not that of the source, the transfer has failed. For this, each volume is downloaded once more.

Progress is shown on standard error: a bar on a terminal, and otherwise a line every 5 seconds. SIGINT and
SIGTERM interrupt the transfers.

Exit status:
  0    everything was transferred
  1    a connection or a transfer failed; the other transfers were carried out
  2    wrong usage
  130  interrupted by a signal
)";

po::options_description described(command_line& c, std::string& rate)
{
    po::options_description result("Options");
    // clang-format off
    result.add_options()
        ("jobs", po::value(&c.jobs)->value_name("N"), "how many volumes are transferred at a time (default: 1)")
        ("limit-rate", po::value(&rate)->value_name("BYTES[K|M|G]"), "the most bytes per second, of all jobs together; K: 1024 bytes")
        ("resume", po::bool_switch(&c.resume), "continue what was interrupted")
        ("verify", po::bool_switch(&c.verify), "read the target back and compare")
        ("checksum", po::bool_switch(&c.checksum), "print the SHA-256 of the target, and compare with the source's")
        ("no-sparse", "fill holes with zeros")
        ("help", "show this");
    // clang-format on
    return result;
}

std::uint64_t parse_rate(std::string_view text)
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
    if (!is_number || number == 0 || number > std::numeric_limits<std::uint64_t>::max() >> shift)
        throw std::invalid_argument("'" + std::string(text) + "' is not a rate such as 500K, 20M or 1G");
    return number << shift;
}

volume_name parse_volume(const std::string& text)
{
    const auto slash = text.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == text.size())
        throw std::invalid_argument("'" + text + "' is not a volume such as POOL/VOLUME");
    return {text.substr(0, slash), text.substr(slash + 1)};
}

using arguments = std::vector<std::string>;

/// URI POOL/VOLUME... FILE
void parse_download(const arguments& given, command_line& c)
{
    if (given.size() < 3)
        throw std::invalid_argument("download needs a URI, a volume and a file");
    c.uri = given.front();
    const fs::path target = given.back();
    const bool is_directory = given.size() > 3 || fs::is_directory(target);
    if (is_directory && !fs::is_directory(target))
        throw std::invalid_argument("'" + target.string() + "' is not a directory");
    std::set<fs::path> files;
    for (std::size_t i = 1; i + 1 < given.size(); ++i) {
        const auto volume = parse_volume(given[i]);
        const auto file = is_directory ? target / volume.name : target;
        if (!files.insert(file).second)
            throw std::invalid_argument("two volumes would be written to '" + file.string() + "'");
        c.items.push_back({volume, file});
    }
}

/// FILE... URI POOL, or FILE URI POOL/VOLUME
void parse_upload(const arguments& given, command_line& c)
{
    if (given.size() < 3)
        throw std::invalid_argument("upload needs a file, a URI and a volume");
    c.uri = given[given.size() - 2];
    const auto& target = given.back();
    const bool is_pool = target.find('/') == std::string::npos;
    if (given.size() > 3 && !is_pool)
        throw std::invalid_argument("several files need a pool, and '" + target + "' is a volume");
    std::set<std::string> names;
    for (std::size_t i = 0; i + 2 < given.size(); ++i) {
        const fs::path file = given[i];
        const auto volume = is_pool ? volume_name{target, file.filename().string()} : parse_volume(target);
        if (!names.insert(volume.name).second)
            throw std::invalid_argument("two files would be written to '" + target + "/" + volume.name + "'");
        c.items.push_back({volume, file});
    }
}

/// URI POOL/VOLUME URI POOL/VOLUME
void parse_copy(const arguments& given, command_line& c)
{
    if (given.size() != 4)
        throw std::invalid_argument("copy needs a URI and a volume, twice");
    c.uri = given[0];
    c.from = parse_volume(given[1]);
    c.target_uri = given[2];
    c.to = parse_volume(given[3]);
    if (given[0] == given[2] && given[1] == given[3])
        throw std::invalid_argument("'" + given[1] + "' cannot be copied to itself");
}

} // namespace

std::string help()
{
    command_line ignored;
    std::string rate;
    std::ostringstream out;
    out << usage << '\n' << described(ignored, rate) << remarks;
    return std::move(out).str();
}

command_line parse(int argc, char* argv[])
{
    command_line c;
    std::string rate;
    arguments given;
    auto options = described(c, rate);
    po::options_description all;
    all.add(options).add_options()("argument", po::value(&given));
    po::positional_options_description unnamed;
    unnamed.add("argument", -1);
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(all).positional(unnamed).run(), values);
    po::notify(values);

    if (values.count("help"))
        return c;
    if (given.empty())
        throw std::invalid_argument("download, upload or copy?");
    if (c.jobs < 1)
        throw std::invalid_argument("--jobs needs a positive number");
    if (!rate.empty())
        c.bytes_per_second = parse_rate(rate);
    c.sparse = !values.count("no-sparse");
    const auto command = given.front();
    given.erase(given.begin());
    if (command == "download") {
        c.command = command_line::verb::download;
        parse_download(given, c);
    }
    else if (command == "upload") {
        c.command = command_line::verb::upload;
        parse_upload(given, c);
    }
    else if (command == "copy") {
        c.command = command_line::verb::copy;
        parse_copy(given, c);
    }
    else {
        throw std::invalid_argument("'" + command + "' is neither download, upload nor copy");
    }
    return c;
}
