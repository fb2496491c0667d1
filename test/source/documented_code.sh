#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# Compares the documents' programs with the examples that are compiled: the code block below <!-- FILE.cpp --> is FILE.cpp
# from its first #include on.
cd "$(dirname "$0")/../.." || exit

code_block() {
    awk -v marker="<!-- $1 -->" '
        $0 == marker { found = 1 }
        found && /^```$/ { exit }
        inside { print }
        found && /^```cpp$/ { inside = 1 }' "$2"
}

status=0
for document in README.md docs/*.md; do
    while read -r file; do
        diff -u --label "$file" --label "$document" \
            <(sed -n '/^#include/,$p' "$file") <(code_block "$file" "$document") || status=1
    done < <(sed -nE 's/^<!-- ([^ ]+\.cpp) -->$/\1/p' "$document")
done
exit $status
