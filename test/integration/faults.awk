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
$1 == "peer" {
    peers[++peer_count] = $2
    words_of_peer[$2] = $4
}
$1 == "cell" { cells[$2, $3, $4] = $5 }
$1 == "none" {
    without[$2, $3, $4] = 1
    if ($5 != "")
        add_reason($2, $3, $4, $5)
}

# Each cell has a row, unless its test has failed or was not run.
function check_cells(    f, o, p, id, ok) {
    ok = fault_count && operation_count && peer_count
    for (f = 1; f <= fault_count; f++) {
        for (o = 1; o <= operation_count; o++) {
            for (p = 1; p <= peer_count; p++) {
                id = faults[f] SUBSEP operations[o] SUBSEP peers[p]
                if (id in cells || id in without)
                    continue
                print "faults.awk: " peers[p] "/" faults[f] "/" operations[o] " has not passed" >"/dev/stderr"
                ok = 0
            }
        }
    }
    return ok
}

function add_reason(fault, operation, peer, why) {
    if (!((fault, why) in operations_without))
        reasons[fault, ++reason_count[fault]] = why
    operations_without[fault, why] = listed(operations_without[fault, why], words_of_operation[operation])
    peers_without[fault, why] = listed(peers_without[fault, why], words_of_peer[peer])
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
    for (i = 1; i <= peer_count; i++) {
        id = fault SUBSEP operation SUBSEP peers[i]
        if (!(id in cells))
            continue
        if (!(cells[id] in where))
            words[++n] = cells[id]
        where[cells[id]] = listed(where[cells[id]], words_of_peer[peers[i]])
    }
    for (i = 1; i <= n; i++)
        print "| " words_of_operation[operation] " | " where[words[i]] " | " words[i] " |"
}

function print_table(fault,    i) {
    print "| operation | peers | result |"
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
        print "- " which " on " peers_without[fault, why] ": " why
    }
}

END {
    if (!check_cells())
        exit 1
    print "# Faults"
    print ""
    print "This document says what each operation of a stream does when something goes wrong. Each cell is a test in"
    print "[fault_matrix_test.cpp](../test/integration/fault_matrix_test.cpp): the operation is started, the fault is provoked, and"
    print "the test checks what the operation completes with, and then what the stream is good for. Unless the operation is to"
    print "succeed, the peer is made to keep it waiting before the fault. \"Nothing\" stands for a stream without an outstanding"
    print "operation: the cell says what is found out afterwards. A failure other than `operation_aborted` and `eof` comes with a"
    print "message in `error_details`."
    print ""
    print "The peer is a fake daemon that sends what a test says, a private libvirtd, or libvirt's embedded QEMU driver. Behind a"
    print "daemon, the stream has a connection of its own (\"own\"), or shares one (\"shared\"). It is a console, an upload or a"
    print "download, as the fault requires. That nothing was lost is checked by counting with the fake daemon, by comparing"
    print "contents with libvirtd, and not with the embedded driver, where a line is echoed."
    print ""
    print "Some cells cannot exist, and are not mentioned below: the fake daemon has no guests, a console behind a daemon has no"
    print "holes, the embedded driver has neither a daemon nor packets, and if no operation is outstanding, none can be"
    print "cancelled or have a handler."
    print ""
    print "`./dev faults` runs the tests and writes this file. `./dev test` compares this file with its own run. To run a single"
    print "cell, name the peer, the fault and the operation:"
    print "`build/dev/test/integration/test_integration_fault_matrix --run_test=private_own/sigkill/read`."
    for (f = 1; f <= fault_count; f++) {
        print "\n## " heading_of[faults[f]] "\n"
        print words_of[faults[f]] "\n"
        print_table(faults[f])
        print_reasons(faults[f])
    }
}
