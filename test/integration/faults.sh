#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# faults.sh check|write ROWS: compares docs/faults.md with the rows that test_integration_fault_matrix wrote to the file ROWS, or
# writes it from them.
set -u
action=$1 rows=$(realpath "$2") document=docs/faults.md
cd "$(dirname "$0")/../.." || exit

new=${rows%.rows}.md
awk -f test/integration/faults.awk "$rows" >"$new" || exit
if [[ $action == write ]]; then
    exec cp "$new" "$document"
fi
diff -u --label "$document" --label 'this run' "$document" "$new"
