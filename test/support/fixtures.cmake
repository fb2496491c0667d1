# SPDX-License-Identifier: BSL-1.0

# The environment of avirt in tests and benchmarks: daemons, guests, peers. None of it needs Boost or avirt.
include_guard(GLOBAL)

enable_language(ASM)
add_library(avirt_test_fixtures STATIC
  ${CMAKE_CURRENT_LIST_DIR}/certificates.cpp
  ${CMAKE_CURRENT_LIST_DIR}/command.cpp
  ${CMAKE_CURRENT_LIST_DIR}/daemon_process.cpp
  ${CMAKE_CURRENT_LIST_DIR}/embedded_driver.cpp
  ${CMAKE_CURRENT_LIST_DIR}/fake_libvirtd.cpp
  ${CMAKE_CURRENT_LIST_DIR}/flood_guest.S
  ${CMAKE_CURRENT_LIST_DIR}/libvirtd.cpp
  ${CMAKE_CURRENT_LIST_DIR}/loopback.cpp
  ${CMAKE_CURRENT_LIST_DIR}/mounts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/packet_proxy.cpp
  ${CMAKE_CURRENT_LIST_DIR}/silent_peer.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sshd.cpp
  ${CMAKE_CURRENT_LIST_DIR}/unix_socket.cpp
  ${PROJECT_SOURCE_DIR}/examples/console_relay/guardian.cpp
  ${PROJECT_SOURCE_DIR}/examples/console_relay/guest.S)
target_include_directories(avirt_test_fixtures PUBLIC ${PROJECT_SOURCE_DIR}/test)
target_compile_features(avirt_test_fixtures PUBLIC cxx_std_20)
target_link_libraries(avirt_test_fixtures
  PUBLIC PkgConfig::LIBVIRT Threads::Threads
  PRIVATE avirt_warnings)

# The program that libvirt runs to reach a daemon.
add_executable(socket_bridge
  ${CMAKE_CURRENT_LIST_DIR}/socket_bridge.cpp
  ${CMAKE_CURRENT_LIST_DIR}/unix_socket.cpp)
target_include_directories(socket_bridge PRIVATE ${PROJECT_SOURCE_DIR}/test)
target_link_libraries(socket_bridge PRIVATE avirt_warnings)
target_compile_features(socket_bridge PRIVATE cxx_std_20)
target_compile_definitions(avirt_test_fixtures PUBLIC
  $<$<COMPILE_LANGUAGE:CXX>:SOCKET_BRIDGE="$<TARGET_FILE:socket_bridge>">)
add_dependencies(avirt_test_fixtures socket_bridge)

# Replaces functions of the C library, so only tests that need it are linked with it.
add_library(avirt_test_no_sleep OBJECT ${CMAKE_CURRENT_LIST_DIR}/no_sleep.cpp)
target_include_directories(avirt_test_no_sleep PUBLIC ${PROJECT_SOURCE_DIR}/test)
target_compile_features(avirt_test_no_sleep PUBLIC cxx_std_20)
target_link_libraries(avirt_test_no_sleep
  PUBLIC ${CMAKE_DL_LIBS}
  PRIVATE avirt_warnings)

# Linked on request too: libvirt's messages appear in another language.
add_library(avirt_test_translation OBJECT ${CMAKE_CURRENT_LIST_DIR}/translation.cpp)
target_include_directories(avirt_test_translation PUBLIC ${PROJECT_SOURCE_DIR}/test)
target_compile_features(avirt_test_translation PUBLIC cxx_std_20)
target_link_libraries(avirt_test_translation PRIVATE avirt_warnings)
