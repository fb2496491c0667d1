# SPDX-License-Identifier: BSL-1.0

# Checks the includes of the library's files against the rooms of rooms.txt, which is the first file.
function complain(message) {
    print FILENAME ":" FNR ": " message
    failed = 1
}

# The room of a file, which is named as in an #include.
function room_of(name) {
    if (name in room_of_header)
        return room_of_header[name]
    sub(/\/.*/, "", name)
    return name in rooms ? name : ""
}

FNR == NR && $1 == "room" {
    rooms[$2]
    for (i = 2; i <= NF; i++)
        allowed[$2, $i]
}
FNR == NR && $1 == "headers" {
    for (i = 3; i <= NF; i++)
        room_of_header["avirt/" $i] = $2
}
FNR == NR { next }

FNR == 1 {
    file = FILENAME
    sub(/^(src|include)\//, "", file)
    room = room_of(file)
    if (room == "")
        complain("test/source/rooms.txt gives this file no room")
}
room != "" && match($0, /^ *# *include *("[^"]*"|<avirt\/[^>]*>)/) {
    header = substr($0, RSTART, RLENGTH - 1)
    sub(/.*["<]/, "", header)
    other = room_of(header)
    if (other == "")
        complain("test/source/rooms.txt gives " header " no room")
    else if (!((room, other) in allowed))
        complain(room " must not include " header (header ~ /^avirt\// ? ", which belongs to " other : ""))
}
END { exit failed }
