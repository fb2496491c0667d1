#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# document.sh check|write REPORTS: compares docs/conformance.md with the rows that the conformance tests wrote to the
# folder REPORTS, or writes it from them.
set -u
action=$1 reports=$(realpath "$2") document=docs/conformance.md
cd "$(dirname "$0")/../.." || exit

new=$reports/conformance.md
awk -f test/conformance/document.awk "$reports"/conformance.{one_thread,four_threads,libvirt,lifecycle}.rows >"$new" || exit
if [[ $action == write ]]; then
    exec cp "$new" "$document"
fi

libvirts_loop() {
    grep -m 1 -o "libvirt [0-9.]*'s loop" "$1"
}

# The loop of another version of libvirt may behave differently: its column is left out then.
columns=1-
[[ $(libvirts_loop "$document") == "$(libvirts_loop "$new")" ]] || columns=1-4,6-
diff -u --label "$document" --label 'this run' \
    <(cut -d '|' -f "$columns" "$document") <(cut -d '|' -f "$columns" "$new")
