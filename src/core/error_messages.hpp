// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

// Sentences for people, without anything of a particular failure: that is in its details.
namespace avirt::detail {

const char* sentence_for(error e) noexcept;
const char* sentence_for(condition c) noexcept;
/// What libvirt means by the number; null: it is newer than this. libvirt does not tell: its own table is not
/// exported.
const char* sentence_for_libvirt(int number) noexcept;

} // namespace avirt::detail
