// SPDX-License-Identifier: BSL-1.0
#include "connection_link.hpp"

#include <utility>

namespace avirt::detail {
namespace {

thread_local std::shared_ptr<connection_link> current_link;

} // namespace

link_scope::link_scope(std::shared_ptr<connection_link> link) noexcept
    : outer_(std::exchange(current_link, std::move(link)))
{
}

link_scope::~link_scope()
{
    current_link = std::move(outer_);
}

const std::shared_ptr<connection_link>& link_scope::current() noexcept
{
    return current_link;
}

} // namespace avirt::detail
