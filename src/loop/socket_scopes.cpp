// SPDX-License-Identifier: BSL-1.0
#include "loop/socket_scopes.hpp"

#include <utility>

namespace avirt::detail {
namespace {

thread_local std::shared_ptr<connection_socket> current_owner;
thread_local std::shared_ptr<connection_socket> current_opening;
thread_local socket_search* current_search = nullptr;
thread_local int latest_watch = 0;

} // namespace

owner_scope::owner_scope(std::shared_ptr<connection_socket> socket) noexcept
    : outer_(std::exchange(current_owner, std::move(socket)))
{
}

owner_scope::~owner_scope()
{
    current_owner = std::move(outer_);
}

const std::shared_ptr<connection_socket>& owner_scope::current() noexcept
{
    return current_owner;
}

opening_scope::opening_scope(std::shared_ptr<connection_socket> socket) noexcept
    : owner_(socket),
      outer_(std::exchange(current_opening, std::move(socket)))
{
}

opening_scope::~opening_scope()
{
    current_opening = std::move(outer_);
}

const std::shared_ptr<connection_socket>& opening_scope::current() noexcept
{
    return current_opening;
}

socket_search::socket_search(std::shared_ptr<connection_socket> socket) noexcept
    : unknown(std::move(socket)),
      outer_(std::exchange(current_search, this))
{
}

socket_search::~socket_search()
{
    current_search = outer_;
}

socket_search* socket_search::current() noexcept
{
    return current_search;
}

added_watch::added_watch() noexcept
{
    latest_watch = 0;
}

int added_watch::watch() const noexcept
{
    return latest_watch;
}

void added_watch::note(int watch) noexcept
{
    latest_watch = watch;
}

} // namespace avirt::detail
