# SPDX-License-Identifier: BSL-1.0
# cmake -DSOURCE=file -P check_mistake.cmake -- compiler...: checks that SOURCE does not compile, that the compiler's output is
# not too long, and that its first lines contain what SOURCE has behind "// says: ".

cmake_policy(VERSION 3.23)

set(first_lines 25)
set(most_lines 100) # GCC 16 shows each candidate with all its reasons; others need half as many lines.

math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(is_command)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(is_command ON)
  endif()
endforeach()

file(STRINGS ${SOURCE} wanted REGEX "^// says: ")
string(REPLACE "// says: " "" wanted "${wanted}")

execute_process(COMMAND ${command} ${SOURCE}
  RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
message("${said}")
if(status EQUAL 0)
  message(FATAL_ERROR "It compiles.")
endif()

string(REGEX REPLACE "[][;]" "," lines "${said}")
string(REPLACE "\n" ";" lines "${lines}")
list(LENGTH lines count)
if(count GREATER most_lines)
  message(FATAL_ERROR "${count} lines are too many.")
endif()
list(SUBLIST lines 0 ${first_lines} lines)
if(NOT lines MATCHES "${wanted}")
  message(FATAL_ERROR "The first ${first_lines} lines do not say: ${wanted}")
endif()
