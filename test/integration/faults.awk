# SPDX-License-Identifier: BSL-1.0

# Writes docs/faults.md from the rows that test_integration_fault_matrix has written.
BEGIN { FS = "\t" }
$1 == "fault" {
    faults[++fault_count] = $2
    heading_of[$2] = $3
    words_of[$2] = $4
}
$1 == "operation" {
    operations[++operation_count] = $2
    words_of_operation[$2] = $4
}
$1 == "place" {
    places[++place_count] = $2
    words_of_place[$2] = $4
}
$1 == "expected" { cells[$2, $3, $4] = $5 }
$1 == "failed" { cells[$2, $3, $4] = "**FAILED**: " $5 }
$1 == "none" { add_reason($2, $3, $4, $5) }

function add_reason(fault, operation, place, why) {
    if (!((fault, why) in operations_without))
        reasons[fault, ++reason_count[fault]] = why
    operations_without[fault, why] = listed(operations_without[fault, why], words_of_operation[operation])
    places_without[fault, why] = listed(places_without[fault, why], words_of_place[place])
}

# The list with the item, unless it is there already.
function listed(list, item) {
    if (index(", " list ", ", ", " item ", "))
        return list
    return list == "" ? item : list ", " item
}

# One row for each different expectation of an operation.
function print_rows(fault, operation,    i, id, n, words, where) {
    n = 0
    for (i = 1; i <= place_count; i++) {
        id = fault SUBSEP operation SUBSEP places[i]
        if (!(id in cells))
            continue
        if (!(cells[id] in where))
            words[++n] = cells[id]
        where[cells[id]] = listed(where[cells[id]], words_of_place[places[i]])
    }
    for (i = 1; i <= n; i++)
        print "| " words_of_operation[operation] " | " where[words[i]] " | " words[i] " |"
}

function print_table(fault,    i) {
    print "| operation | other side | result |"
    print "|---|---|---|"
    for (i = 1; i <= operation_count; i++)
        print_rows(fault, operations[i])
}

function print_reasons(fault,    i, why, which, parts) {
    if (reason_count[fault])
        print "\nNot tried:\n"
    for (i = 1; i <= reason_count[fault]; i++) {
        why = reasons[fault, i]
        which = operations_without[fault, why]
        if (split(which, parts, ", ") == operation_count)
            which = "everything"
        print "- " which " on " places_without[fault, why] ": " why
    }
}

END {
    print "# Faults"
    print ""
    print "This document says what each operation of a stream does when something goes wrong. Each cell is a test in"
    print "[fault_matrix_test.cpp](../test/integration/fault_matrix_test.cpp): the operation is started, the fault is provoked, and"
    print "the test checks what the operation completes with, and then what the stream is good for. Unless the operation is to"
    print "succeed, the other side is made to keep it waiting before the fault. \"Nothing\" stands for a stream without an"
    print "outstanding operation: the cell says what is found out afterwards."
    print ""
    print "The other side is a fake daemon that sends what a test says, a private libvirtd, or libvirt's embedded QEMU driver."
    print "Behind a daemon, the stream has a connection of its own (\"own\"), or shares one (\"shared\"). It is a console, an upload"
    print "or a download, as the fault requires. That nothing was lost is checked by counting with the fake daemon, by comparing"
    print "contents with libvirtd, and not with the embedded driver, where a line is echoed."
    print ""
    print "`./dev faults` runs the tests and writes this file. `./dev test` compares this file with its own run. To run a single"
    print "cell, name the other side, the fault and the operation: `--run_test=private_own/sigkill/read`."
    for (f = 1; f <= fault_count; f++) {
        print "\n## " heading_of[faults[f]] "\n"
        print words_of[faults[f]] "\n"
        print_table(faults[f])
        print_reasons(faults[f])
    }
}
