// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace avirt::detail {

/// Objects with ids as libvirt needs them: positive (libvirt takes 0 for "none", docs/libvirt.md, "Ids") and
/// counted up, so that an id comes back only after the whole range was used. The slots are dense and never
/// move, so that other structures may refer to them by index. Nothing is allocated once the table has reached
/// its size. T has a member `int id`, which is 0 in an empty slot.
///
/// The low bits of an id are its place in the index. An id is skipped if its place is taken.
template <class T>
class id_table
{
public:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    std::size_t size() const noexcept
    {
        return slots_.size() - free_.size();
    }

    /// Returns the index of the new slot.
    std::uint32_t insert(T&& object)
    {
        if (free_.empty())
            grow();
        const auto slot = free_.back();
        free_.pop_back();
        object.id = next_id();
        index_[place_of(object.id)] = slot;
        slots_[slot] = std::move(object);
        return slot;
    }

    /// Returns the slot of an id, or none.
    std::uint32_t find(int id) const noexcept
    {
        if (id <= 0 || index_.empty())
            return none;
        const auto slot = index_[place_of(id)];
        return slots_[slot].id == id ? slot : none;
    }

    T& operator[](std::uint32_t slot) noexcept
    {
        return slots_[slot];
    }

    /// Returns the object that was in the slot.
    T erase(std::uint32_t slot) noexcept
    {
        T object = std::move(slots_[slot]);
        slots_[slot].id = 0;
        free_.push_back(slot);
        return object;
    }

private:
    std::size_t place_of(int id) const noexcept
    {
        return static_cast<std::size_t>(id) & (index_.size() - 1);
    }

    // Makes room for every slot at once: erasing must not need memory.
    void grow()
    {
        const auto size = slots_.empty() ? std::size_t{16} : 2 * slots_.size();
        std::vector<std::uint32_t> index(4 * size, 0);
        free_.reserve(size);
        slots_.resize(size);
        index_ = std::move(index);
        for (auto slot = static_cast<std::uint32_t>(size); slot-- > 0;) {
            if (slots_[slot].id == 0)
                free_.push_back(slot);
            else
                index_[place_of(slots_[slot].id)] = slot;
        }
    }

    bool is_taken(int id) const noexcept
    {
        const int other = slots_[index_[place_of(id)]].id;
        return other != 0 && place_of(other) == place_of(id);
    }

    int next_id() noexcept
    {
        do {
            last_id_ = last_id_ == std::numeric_limits<int>::max() ? 1 : last_id_ + 1;
        } while (is_taken(last_id_));
        return last_id_;
    }

    std::vector<std::uint32_t> index_;
    std::vector<T> slots_;
    std::vector<std::uint32_t> free_;
    int last_id_ = 0;
};

} // namespace avirt::detail
