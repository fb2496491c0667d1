// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace avirt::detail {

/// Objects under ids as libvirt needs them: positive (it takes 0 for "none", docs/libvirt.md, "Ids"), and
/// counted up, so that an id comes back only after the whole range was used. The slots are dense and stay
/// where they are, so that other structures may refer to them by index; nothing is allocated once the table
/// has reached its size. T has a member `int id`, which is 0 in an empty slot.
template <class T>
class id_table
{
public:
    std::size_t size() const noexcept
    {
        return index_.size();
    }

    /// Returns the index of the new slot.
    std::uint32_t insert(T object)
    {
        int id = next_id();
        if (free_.empty()) {
            // Room for every slot at once: erasing must not need memory.
            slots_.emplace_back();
            free_.reserve(slots_.capacity());
            free_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
        }
        const auto slot = free_.back();
        index_.emplace(id, slot);
        free_.pop_back();
        object.id = id;
        slots_[slot] = std::move(object);
        return slot;
    }

    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    /// The slot of an id, or none.
    std::uint32_t find(int id) const noexcept
    {
        const auto it = index_.find(id);
        return it == index_.end() ? none : it->second;
    }

    T& operator[](std::uint32_t slot) noexcept
    {
        return slots_[slot];
    }

    void erase(std::uint32_t slot) noexcept
    {
        index_.erase(slots_[slot].id);
        slots_[slot] = T{};
        free_.push_back(slot);
    }

private:
    int next_id() noexcept
    {
        do {
            last_id_ = last_id_ == std::numeric_limits<int>::max() ? 1 : last_id_ + 1;
        } while (index_.contains(last_id_));
        return last_id_;
    }

    boost::unordered_flat_map<int, std::uint32_t> index_;
    std::vector<T> slots_;
    std::vector<std::uint32_t> free_;
    int last_id_ = 0;
};

} // namespace avirt::detail
