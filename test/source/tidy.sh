#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# tidy.sh BUILD_DIR: runs clang-tidy over the library and the examples, with the compile commands of that build.
cd "$(dirname "$0")/../.." || exit
build=$1

# tidy FOLDER [option...]
tidy() {
    folder=$1
    shift
    find "$folder" -name '*.cpp' -print0 | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p "$build" --quiet "$@"
}

# The analyzer reports false errors in coroutines.
tidy src && tidy examples '--checks=-clang-analyzer-*'
