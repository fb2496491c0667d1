#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# count_results.sh BUILD_DIR|NAME=STATUS...: adds up what the tests of each build reported, in its ctest.xml (JUnit) and
# test/reports: Boost.Test's cases, and one for a test that counts no cases or crashed. NAME=STATUS is a command that
# counts as one test, with its exit status. Succeeds if nothing failed.
set -u
passed=0 failed=0 failures=() skipped=()

fail() {
    failed=$((failed + 1))
    failures+=("$1")
}

# attribute NAME XML: a number, 0 if it is missing.
attribute() {
    [[ $2 =~ [[:space:]]$1=\"([0-9]+)\" ]] && printf '%d' "${BASH_REMATCH[1]}" || printf 0
}

# ctest_results FILE: lines of a test's status (run, fail, skip, notrun) and name.
ctest_results() {
    awk -F '"' '
        /<testcase / { name = $2; status = $8 }
        /<skipped message="SKIP_/ { status = "skip" }
        /<\/testcase>/ { print status, name }' "$1"
}

count_build() {
    local dir=$1 build=${1##*/} status test report cases bad left_out tests=0
    [[ -e $dir/ctest.xml ]] || { fail "$build: build"; return; }
    while read -r status test; do
        tests=$((tests + 1))
        report=$(cat "$dir/test/reports/$test.xml" 2>/dev/null)
        cases=$(attribute test_cases_passed "$report")
        bad=$(attribute test_cases_failed "$report")
        left_out=$(attribute test_cases_skipped "$report")
        ((left_out)) && skipped+=("$build: $test: $left_out of its cases")
        case $status in
        run) passed=$((passed + (cases ? cases : 1))) ;;
        skip) skipped+=("$build: $test") ;;
        *)
            passed=$((passed + cases))
            failed=$((failed + (bad ? bad : 1)))
            failures+=("$build: $test")
            ;;
        esac
    done < <(ctest_results "$dir/ctest.xml")
    ((tests)) || fail "$build: ctest"
}

for argument; do
    case $argument in
    *=0) passed=$((passed + 1)) ;;
    *=*) fail "${argument%=*}" ;;
    *) count_build "$argument" ;;
    esac
done
printf '\n'
((${#skipped[@]})) && printf 'skipped: %s\n' "${skipped[@]}"
((failed)) && printf 'failed: %s\n' "${failures[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
