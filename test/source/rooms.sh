#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Checks that no room of src includes a header of a room above it (rooms.txt).
cd "$(dirname "$0")/../.." || exit
find include src -name '*.[ch]pp' | sort | xargs awk -f test/source/rooms.awk test/source/rooms.txt
