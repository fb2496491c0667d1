# SPDX-License-Identifier: BSL-1.0

# Prints docs/portability.md with the rows of the file `table`, a run of the matrix on `commit`. Each row replaces the
# document's row of the same release and user.
function keep(line,    cells) {
    split(line, cells, / *\| */)
    rows[cells[2] " " cells[3]] = line
}

function print_table(    head, rule, line, order, i) {
    getline head < table
    getline rule < table
    while ((getline line < table) > 0)
        keep(line " `" commit "` |")
    print "\n" head " commit |\n" rule "---|"
    split("bookworm root,bookworm user,trixie root,trixie user,forky root,forky user", order, ",")
    for (i = 1; i in order; ++i)
        if (order[i] in rows)
            print rows[order[i]]
    print ""
}

/^<!-- end of matrix -->$/ { print_table(); inside = 0 }
inside && /^\| (bookworm|trixie|forky) / { keep($0) }
!inside { print }
/^<!-- matrix -->$/ { inside = 1 }
