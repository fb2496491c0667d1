#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# options.sh CMAKE SOURCE_DIR BUILD_DIR [argument...]: what a build without a preset is configured to do.
set -eu
cmake=$1 source=$2 build=$3
shift 3

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

rm -rf "$build"
"$cmake" -S "$source" -B "$build" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DBUILD_TESTING=OFF \
    -DAVIRT_BUILD_EXAMPLES=OFF "$@"
commands=$build/compile_commands.json
grep -q src/core/error.cpp "$commands" || fail 'the library is not built'
! grep -q -e -Werror "$commands" || fail 'warnings are errors'
[ ! -e "$build/test" ] || fail 'tests are built although BUILD_TESTING is OFF'
