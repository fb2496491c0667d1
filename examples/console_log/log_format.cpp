// SPDX-License-Identifier: BSL-1.0
#include "log_format.hpp"

#include "asciicast.hpp"
#include "timestamps.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace {

class raw final : public log_format
{
public:
    log_file::existing existing_file() const noexcept override
    {
        return log_file::existing::continued;
    }

    void output(log_file& file, std::string_view& bytes, moment) override
    {
        while (!bytes.empty()) {
            file.make_room(1);
            const auto piece =
                bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), file.room())));
            file.write(piece);
            bytes.remove_prefix(piece.size());
        }
    }

    void mark(log_file&, std::string_view, moment) override {}
};

} // namespace

std::unique_ptr<log_format> log_format::make(kind k, std::string title)
{
    switch (k) {
    case kind::timestamps:
        return std::make_unique<timestamps>();
    case kind::asciicast:
        return std::make_unique<asciicast>(std::move(title));
    case kind::raw:
        break;
    }
    return std::make_unique<raw>();
}
