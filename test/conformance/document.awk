# SPDX-License-Identifier: BSL-1.0

# Writes docs/conformance.md from what the programs have noted of their cases (rows.cpp). Their files are given in
# the order of the columns: avirt with one thread, avirt with several, libvirt's loop; then the cases that are
# avirt's alone.
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
    print "| | avirt, one thread | avirt, several threads | libvirt " version "'s loop | why avirt is as it is |"
    print "|---|---|---|---|---|"
    for (i = 1; i <= case_count[suite]; i++)
        print_case(suite "/" cases[suite, i], cases[suite, i])
}

END {
    print "# Conformance"
    print ""
    print "avirt's event loop, case by case, beside the loop that libvirt brings (`virEventRegisterDefaultImpl`). Each case is a"
    print "test in [test/conformance](../test/conformance) that states what avirt does. It runs on a context that one thread runs, on"
    print "one that several threads run, and on libvirt's loop: there it holds, or it differs and is seen to fail, or it is not"
    print "asked. What is avirt's alone, contexts and processes and how they end, has dashes."
    print ""
    print "`./dev conformance` runs the tests and writes this file; `./dev test` compares it with what its own run gives. A test's"
    print "name has underscores for the spaces: `--run_test=watches/a_thousand_watches`."
    for (i = 1; i <= suite_count; i++)
        print_suite(suites[i])
}
