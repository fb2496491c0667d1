#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# pkg_config.sh SOURCE PROGRAM COMPILER...: a consumer without CMake. PKG_CONFIG_PATH leads to avirt.pc.
set -eu
source=$1 program=$2
shift 2

flags=$(pkg-config --cflags --libs avirt)
set -x
# $flags is a list of words.
"$@" -std=c++20 "$source" -o "$program" $flags
"$program"
