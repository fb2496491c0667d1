// SPDX-License-Identifier: BSL-1.0
#include "core/error_categories.hpp"

#include "core/error_conditions.hpp"
#include "core/error_messages.hpp"

#include <libvirt/virterror.h>

#include <cstdio>

namespace avirt {
namespace {

using boost::system::error_category;
using boost::system::error_condition;

constexpr boost::ulong_long_type avirt_id = 0x6176697274657272;
constexpr boost::ulong_long_type libvirt_id = 0x6176697274766972;
constexpr boost::ulong_long_type condition_id = 0x6176697274636f6e;

class avirt_category_impl final : public error_category
{
public:
    constexpr avirt_category_impl() noexcept : error_category(avirt_id) {}

    const char* name() const noexcept override
    {
        return "avirt";
    }

    const char* message(int value, char*, std::size_t) const noexcept override
    {
        if (const char* sentence = detail::sentence_for(static_cast<error>(value)))
            return sentence;
        return "unknown avirt error";
    }

    std::string message(int value) const override
    {
        return message(value, nullptr, 0);
    }

    error_condition default_error_condition(int value) const noexcept override
    {
        return detail::system_condition_of(static_cast<error>(value)).value_or(error_condition(value, *this));
    }
};

class condition_category_impl final : public error_category
{
public:
    constexpr condition_category_impl() noexcept : error_category(condition_id) {}

    const char* name() const noexcept override
    {
        return "avirt.condition";
    }

    const char* message(int value, char*, std::size_t) const noexcept override
    {
        if (const char* sentence = detail::sentence_for(static_cast<condition>(value)))
            return sentence;
        return "unknown avirt condition";
    }

    std::string message(int value) const override
    {
        return message(value, nullptr, 0);
    }

    bool equivalent(const error_code& code, int value) const noexcept override
    {
        return detail::means(code, static_cast<condition>(value));
    }
};

/// The category of libvirt's numbers. It has several objects, which share the id, so that their codes compare
/// equal. They differ in the condition that is known beyond the number: libvirt uses some numbers for
/// everything (VIR_ERR_OPERATION_FAILED, VIR_ERR_INTERNAL_ERROR). If the operation tells which case it is,
/// the code carries the object with that condition.
class libvirt_category_impl final : public error_category
{
public:
    constexpr libvirt_category_impl() noexcept : error_category(libvirt_id) {}

    explicit constexpr libvirt_category_impl(condition c) noexcept
        : error_category(libvirt_id),
          refined_(c),
          is_refined_(true)
    {
    }

    const char* name() const noexcept override
    {
        return "libvirt";
    }

    const char* message(int value, char* buffer, std::size_t size) const noexcept override
    {
        const char* sentence =
            is_refined_ ? detail::sentence_for(refined_) : detail::sentence_for_libvirt(value);
        if (sentence)
            return sentence;
        std::snprintf(buffer, size, "libvirt reports error %d, which is newer than this avirt", value);
        return buffer;
    }

    std::string message(int value) const override
    {
        char buffer[80];
        return message(value, buffer, sizeof buffer);
    }

    bool equivalent(int value, const error_condition& c) const noexcept override
    {
        if (c.category() != condition_category())
            return error_category::equivalent(value, c);
        const auto wanted = static_cast<condition>(c.value());
        return (is_refined_ && refined_ == wanted) || detail::condition_of(value) == wanted;
    }

    error_condition default_error_condition(int value) const noexcept override
    {
        return detail::system_condition_of_libvirt(value).value_or(error_condition(value, *this));
    }

private:
    condition refined_{};
    bool is_refined_ = false;
};

// The categories are never destroyed: codes are kept and compared while the process ends.
template <class T>
const T& immortal() noexcept
{
    static const T& object = *new T;
    return object;
}

template <condition Condition>
const error_category& refined_category() noexcept
{
    static const auto& object = *new libvirt_category_impl(Condition);
    return object;
}

const error_category& refined_category_for(condition c) noexcept
{
    switch (c) {
    case condition::console_in_use:
        return refined_category<condition::console_in_use>();
    case condition::console_taken_over:
        return refined_category<condition::console_taken_over>();
    case condition::guest_gone:
        return refined_category<condition::guest_gone>();
    case condition::connection_lost:
        return refined_category<condition::connection_lost>();
    case condition::not_found:
        return refined_category<condition::not_found>();
    case condition::not_supported:
        return refined_category<condition::not_supported>();
    case condition::busy:
        return refined_category<condition::busy>();
    default:
        return libvirt_category();
    }
}

} // namespace

const error_category& avirt_category() noexcept
{
    return immortal<avirt_category_impl>();
}

const error_category& libvirt_category() noexcept
{
    return immortal<libvirt_category_impl>();
}

const error_category& condition_category() noexcept
{
    return immortal<condition_category_impl>();
}

namespace detail {

error_code libvirt_code(const error_details& d) noexcept
{
    if (d.code == VIR_ERR_SYSTEM_ERROR && d.int1 > 0)
        return {d.int1, boost::system::system_category()};
    return {d.code, libvirt_category()};
}

error_code refined_libvirt_code(int number, condition c) noexcept
{
    return {number, refined_category_for(c)};
}

} // namespace detail
} // namespace avirt
