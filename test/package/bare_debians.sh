#!/bin/bash
# SPDX-License-Identifier: BSL-1.0
#
# bare_debians.sh SOURCES WORK root|user|both RELEASE...: runs `./dev demo` and `./dev test` on bare Debians, as root, and
# as a user who may use sudo, and writes a table in Markdown to WORK/table.md.
#
# SOURCES is an archive of the tree. A release's bare tree is made once, as TREES/RELEASE (WORK/trees/RELEASE by
# default), and copied for each run. With CACHE=DIRECTORY compilers' results are kept there, and taken from there: the
# trees have ccache then. All that mounts or runs something does so in namespaces of its own, which go
# with this script: no mount in them can be seen from outside, so that removing a copy never reaches into one.
set -u

work_in() {
    local tree=$1 as=$2 command=$3 cache=$4 node
    # A name that resolves nowhere.
    hostname avirt-matrix
    mount --bind "$tree" "$tree" && cd "$tree" || exit
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t tmpfs -o mode=755 tmpfs dev
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,mode=620,gid=5,ptmxmode=666 devpts dev/pts
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    for node in null zero full random urandom tty; do
        : >dev/$node
        mount --bind /dev/$node dev/$node
    done
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    if [[ $cache ]]; then
        mount --bind "$cache" var/cache/ccache || exit
        command="export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_SLOPPINESS=pch_defines,time_macros; $command"
    fi
    # Unlike one in a changed root, a process here may make user namespaces.
    pivot_root . . && umount -l . && cd / || exit
    if [[ $as == user ]]; then
        exec runuser -l tester -c "cd /srv/avirt && $command"
    fi
    exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -lc "cd /srv/avirt && $command"
}

if [[ ${1-} == --in ]]; then
    work_in "${@:2}"
fi

sources=$1 work=$2 users=$3
shift 3
trees=${TREES:-$work/trees}
logs=$work/logs
copy=$work/copy
[[ $users == both ]] && users='root user'

child=
remove() {
    # What has been killed may not be gone yet, and still write.
    until rm -rf --one-file-system "$1"; do sleep 0.2; done
}

stop() {
    [[ $child ]] && kill -KILL "$child" && wait "$child"
    remove "$copy"
    exit 130
} 2>/dev/null
trap stop INT TERM HUP

# apart COMMAND...: in namespaces of its own, which end with this script.
apart() {
    unshare --mount --uts --pid --fork --kill-child --propagation private "$@" &
    child=$!
    wait "$child"
    local status=$?
    child=
    return $status
}

# A release that is newer than debootstrap is made as any other is.
make_tree() {
    local release=$1 script=()
    [[ -d $trees/$release/etc ]] && return
    [[ -e /usr/share/debootstrap/scripts/$release ]] || script=('' /usr/share/debootstrap/scripts/sid)
    mkdir -p "$trees"
    remove "$trees/$release.new"
    apart debootstrap --variant=minbase "$release" "$trees/$release.new" "${script[@]}" \
        >"$logs/$release.log" 2>&1 && mv "$trees/$release.new" "$trees/$release"
}

in_copy() {
    apart "$0" --in "$copy" "$@" "$cache" </dev/null
}

# prepare RELEASE root|user: a bare tree, and ours in it.
prepare() {
    remove "$copy"
    cp -a --reflink=auto "$trees/$1" "$copy" || return
    cp -L /etc/resolv.conf "$copy/etc/resolv.conf"
    # It is thrown away; and a mirror that is behind will do, as it does for debootstrap.
    printf 'force-unsafe-io\n' >"$copy/etc/dpkg/dpkg.cfg.d/matrix"
    printf 'Acquire::Check-Valid-Until "false";\n' >"$copy/etc/apt/apt.conf.d/matrix"
    mkdir -p "$copy/srv/avirt" && tar -C "$copy/srv/avirt" -xf "$sources" || return
    if [[ $cache ]]; then
        mkdir -p "$cache" "$copy/var/cache/ccache" && chmod 777 "$cache" || return
        printf '%s\n' 'cache_dir = /var/cache/ccache' 'umask = 000' >"$copy/etc/ccache.conf"
        # GCC takes a header of another time for another one than the one in a precompiled header.
        find "$copy/srv/avirt" -exec touch -d @0 {} +
        in_copy root 'apt-get update && apt-get install -y --no-install-recommends ccache' || return
    fi
    if [[ $2 == user ]]; then
        in_copy root "apt-get update && apt-get install -y --no-install-recommends sudo &&
            useradd -m -s /bin/bash tester && echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester &&
            chown -R tester: /srv/avirt"
    fi
}

write_versions() {
    in_copy root 'printf "GCC %s | %s | %s" "$(g++ -dumpfullversion)" \
        "$(sed -nE "s/^#define BOOST_LIB_VERSION \"(.*)\"/\1/p" /usr/include/boost/version.hpp | tr _ .)" \
        "$(pkg-config --modversion libvirt)"' 2>/dev/null
}

table=$work/table.md
ok=1
mkdir -p "$logs"
printf '%s\n' '| Debian | as | compiler | Boost | libvirt | `./dev demo` | passed | failed | time |' \
    '|---|---|---|---|---|---|---|---|---|' >"$table"
for release; do
    printf '== %s: the bare tree\n' "$release"
    make_tree "$release" || { printf '   failed: see %s\n' "$logs/$release.log"; ok=0; continue; }
    for as in $users; do
        log=$logs/$release-$as
        printf '== %s, as %s\n' "$release" "$as"
        SECONDS=0
        cache=${CACHE:+$(realpath -m "$CACHE")/$release}
        demo=failed passed='?' failed='?'
        if prepare "$release" "$as" >"$log-prepare.log" 2>&1; then
            in_copy "$as" './dev demo' >"$log-demo.log" 2>&1 &&
                tail -n 1 "$log-demo.log" | tr -d '\r' | grep -qx bye && demo=passed
            in_copy "$as" './dev test' >"$log-test.log" 2>&1 || ok=0
            read -r passed failed < <(sed -nE '$s/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log-test.log")
        fi
        write_versions >"$log-versions"
        [[ $demo == passed && ${passed:-?} != '?' ]] || ok=0
        printf '| %s | %s | %s | %s | %s | %s | %d:%02d |\n' "$release" "$as" "$(<"$log-versions")" "$demo" "${passed:-?}" \
            "${failed:-?}" $((SECONDS / 60)) $((SECONDS % 60)) | tee -a "$table"
        remove "$copy"
    done
done
printf '\n%s\n\n' "What each of them said is in $logs."
cat "$table"
((ok))
