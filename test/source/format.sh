#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# format.sh OPTION...: runs clang-format with these options over the sources: -i formats them in place, and
# --dry-run -Werror checks them. Exits with 77 if clang-format 14 is not installed: each version formats differently.
cd "$(dirname "$0")/../.." || exit

for program in clang-format-14 clang-format; do
    case $("$program" --version 2>/dev/null) in
    *'version 14.'*) exec find include src test examples -name '*.[ch]pp' -exec "$program" "$@" {} + ;;
    esac
done
echo 'clang-format 14 is not installed' >&2
exit 77
