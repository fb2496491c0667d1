#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# matrix.sh [--as root|user] [RELEASE...]: runs `./dev demo` and `./dev test` of what is committed on bare Debians, as root
# and as a user who may use sudo, and writes the results to the table of docs/portability.md. AVIRT_MATRIX_TREES and
# AVIRT_MATRIX_CACHE name folders that keep the bare Debians and the compilers' results (bare_debians.sh).
set -u
cd "$(dirname "$0")/../.." || exit

releases=(bookworm trixie forky) users=both
if [[ ${1-} == --as ]]; then
    users=${2-}
    shift $(($# > 1 ? 2 : 1))
fi
if [[ ! $users =~ ^(root|user|both)$ || ${1-} == -* ]]; then
    printf 'usage: matrix [--as root|user] [release...]\n' >&2
    exit 2
fi
(($#)) && releases=("$@")

work=$PWD/build/matrix document=docs/portability.md as_root=()
commit=$(git rev-parse --short HEAD) && mkdir -p "$work" && git archive -o "$work/sources.tar" "$commit" || exit
((EUID)) && as_root=(sudo)
"${as_root[@]}" env ${AVIRT_MATRIX_TREES:+TREES="$AVIRT_MATRIX_TREES"} ${AVIRT_MATRIX_CACHE:+CACHE="$AVIRT_MATRIX_CACHE"} \
    test/package/bare_debians.sh "$work/sources.tar" "$work" "$users" "${releases[@]}"
status=$?
if ((status != 130)); then # It was not interrupted.
    awk -v commit="$commit" -v table="$work/table.md" -f test/package/record_matrix.awk "$document" >"$work/document.md" &&
        cp "$work/document.md" "$document"
fi
exit $status
