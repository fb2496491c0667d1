# SPDX-License-Identifier: BSL-1.0

set(Boost_USE_STATIC_LIBS OFF)
find_package(Boost ${AVIRT_BOOST_VERSION} REQUIRED COMPONENTS unit_test_framework)

# What Boost.Test counted, one file per test: support/count_results.sh adds them up.
set(avirt_test_reports ${PROJECT_BINARY_DIR}/test/reports)
file(MAKE_DIRECTORY ${avirt_test_reports})

# Forked children of programs with threads start threads of their own; ThreadSanitizer has to be told.
# fast_unwind_on_malloc=0 gives LeakSanitizer whole stacks: only the name of a caller identifies what libvirt leaks.
set(avirt_asan_options detect_stack_use_after_return=1:strict_string_checks=1)
set(avirt_test_environment
  ASAN_OPTIONS=${avirt_asan_options}:fast_unwind_on_malloc=0
  LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/support/lsan.supp:print_suppressions=0
  TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/support/tsan.supp:second_deadlock_stack=1:die_after_fork=0
  UBSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/support/ubsan.supp:print_stacktrace=1)

# The addresses that a sanitizer needs may be taken if addresses are random. (Not every container allows setarch.)
set(avirt_test_launcher)
if(CMAKE_CXX_FLAGS MATCHES "fsanitize=")
  execute_process(COMMAND setarch -R true RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    set(avirt_test_launcher setarch -R)
  endif()
endif()

# Nothing that the user has set up for libvirt, SSH and the like is to reach a test.
set(avirt_test_home ${PROJECT_BINARY_DIR}/test/home)
file(MAKE_DIRECTORY ${avirt_test_home})
list(APPEND avirt_test_environment HOME=${avirt_test_home} LC_ALL=C.UTF-8)
set(avirt_test_environment_unset
  BOOST_TEST_RANDOM BOOST_TEST_RUN_FILTERS
  LIBVIRT_AUTH_FILE LIBVIRT_AUTOSTART LIBVIRT_DEBUG LIBVIRT_DEFAULT_URI LIBVIRT_LOG_FILTERS LIBVIRT_LOG_OUTPUTS
  OPENSSL_CONF SASL_CONF_PATH SASL_PATH
  DISPLAY SSH_ASKPASS SSH_ASKPASS_REQUIRE SSH_AUTH_SOCK
  TMPDIR
  XDG_CACHE_HOME XDG_CONFIG_DIRS XDG_CONFIG_HOME XDG_DATA_DIRS XDG_DATA_HOME XDG_RUNTIME_DIR XDG_STATE_HOME)
list(TRANSFORM avirt_test_environment_unset APPEND =unset:)

# avirt_add_test(NAME SOURCES file...
#   [LIBS library...] [LABELS label...] [ENVIRONMENT NAME=value...] [PROPERTIES name value...])
#
# Adds one Boost.Test executable and one CTest test, FOLDER.NAME, labelled FOLDER: the calling folder below
# test/, or "examples". Each test is a process of its own, because libvirt takes one event loop per process.
# PROPERTIES are ctest's: TIMEOUT 300, RUN_SERIAL ON, RESOURCE_LOCK name, ...
function(avirt_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS;LABELS;ENVIRONMENT;PROPERTIES")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "avirt_add_test(${name}): SOURCES missing, or unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  if(CMAKE_CURRENT_SOURCE_DIR MATCHES "/examples/")
    set(folder examples)
  endif()
  set(target test_${folder}_${name})
  set(test ${folder}.${name})

  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE avirt_test_support ${arg_LIBS})
  # When GCC 12 optimises, it warns of strings that are added (GCC bug 105329), in Boost.Test's headers, too.
  target_compile_options(${target} PRIVATE
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>,$<CONFIG:Release>>:-Wno-stringop-overflow>)
  target_precompile_headers(${target} REUSE_FROM avirt_test_support)

  # catch_system_errors would take a child that was killed on purpose for a failure, and a sanitizer's
  # report for a signal.
  add_test(NAME ${test} COMMAND ${avirt_test_launcher} $<TARGET_FILE:${target}>
    --catch_system_errors=no --color_output=no --log_level=test_suite
    --report_format=XML --report_level=short --report_sink=${avirt_test_reports}/${test}.xml)
  set_tests_properties(${test} PROPERTIES
    LABELS "${folder};${arg_LABELS}"
    ENVIRONMENT "${avirt_test_environment};${arg_ENVIRONMENT}"
    ENVIRONMENT_MODIFICATION "${avirt_test_environment_unset}"
    TIMEOUT 300
    ${arg_PROPERTIES})
endfunction()
