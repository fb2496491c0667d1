// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <avirt/error.hpp>

// Sentences for people. They contain nothing about a particular failure: error_details does.
namespace avirt::detail {

const char* sentence_for(error e) noexcept;
const char* sentence_for(condition c) noexcept;
/// The meaning of a virErrorNumber; null if the number is newer than this table. libvirt does not export its
/// own table.
const char* sentence_for_libvirt(int number) noexcept;

} // namespace avirt::detail
