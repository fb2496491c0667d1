# SPDX-License-Identifier: BSL-1.0

# What a program with a libvirtd of its own is made of (libvirtd.hpp).
set(avirt_libvirtd_sources
  ${PROJECT_SOURCE_DIR}/examples/console_relay/guardian.cpp
  ${CMAKE_CURRENT_LIST_DIR}/certificates.cpp
  ${CMAKE_CURRENT_LIST_DIR}/command.cpp
  ${CMAKE_CURRENT_LIST_DIR}/libvirtd.cpp
  ${CMAKE_CURRENT_LIST_DIR}/loopback.cpp
  ${CMAKE_CURRENT_LIST_DIR}/mounts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/unix_socket.cpp)
