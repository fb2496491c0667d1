# SPDX-License-Identifier: BSL-1.0

# Writes docs/conformance.md from the rows that the test programs have written (rows.cpp). Their files are given in the order of
# the columns: avirt with one thread, avirt with several, libvirt's loop; then the cases that concern avirt alone.
BEGIN { FS = "\t" }
FNR == 1 { column++ }
$1 == "libvirt" { version = $2 }
$1 == "suite" && !($2 in case_count) {
    suites[++suite_count] = $2
    sentence_of[$2] = $3
    case_count[$2] = 0
}
$1 == "case" {
    id = $2 "/" $3
    if (!(id in reason_of))
        cases[$2, ++case_count[$2]] = $3
    reason_of[id] = $5
    result_of[id, column == 4 ? 1 : column] = $4
}

function in_words(name) {
    gsub("_", " ", name)
    return toupper(substr(name, 1, 1)) substr(name, 2)
}

function result(id, column) {
    return (id, column) in result_of ? result_of[id, column] : "–"
}

function print_case(id, name) {
    printf "| %s | %s | %s | %s | %s |\n", in_words(name), result(id, 1), result(id, 2), result(id, 3),
        reason_of[id]
}

function print_suite(suite,    i) {
    print "\n## " in_words(suite) "\n"
    if (sentence_of[suite])
        print sentence_of[suite] "\n"
    print "| | avirt, one thread | avirt, several threads | libvirt " version "'s loop | reason |"
    print "|---|---|---|---|---|"
    for (i = 1; i <= case_count[suite]; i++)
        print_case(suite "/" cases[suite, i], cases[suite, i])
}

END {
    print "# Conformance"
    print ""
    print "This document compares avirt's event loop with libvirt's own (`virEventRegisterDefaultImpl`), case by case. Each case"
    print "is a test in [test/conformance](../test/conformance) that states what avirt does. It runs on a context that one thread"
    print "runs, on a context that several threads run, and on libvirt's loop. There a case holds, or it differs and has to fail,"
    print "or it is not run because it cannot be. Cases that concern avirt alone (contexts, processes, and how they end) have"
    print "dashes."
    print ""
    print "`./dev conformance` runs the tests and writes this file. `./dev test` compares this file with the results of its own"
    print "run. To run a single case, replace the spaces in its name by underscores: `--run_test=watches/a_thousand_watches`."
    for (i = 1; i <= suite_count; i++)
        print_suite(suites[i])
}
