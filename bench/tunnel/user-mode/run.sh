#!/usr/bin/env bash
# bench:tunnel on a Linux that runs as a program (user mode Linux, 6.1 or newer) and has WireGuard, by the sources of one:
#
#     apt-get install linux-source-6.1 flex bison bc && tar -C SOURCES -xf /usr/src/linux-source-6.1.tar.xz
#     bash bench/tunnel/user-mode/run.sh SOURCES/linux-source-6.1 [ROW...]
#
# Its processor is the machine's own, where an emulated one is many times as slow; what it has to be told of, memory that a
# process has not touched before above all, costs more than elsewhere, so that programs take long to start. It reads the
# machine's files, and writes none.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
sources=$(realpath "$1")
shift
# A processor may have more registers than these sources have room for (2,696 bytes; with AMX it is 11,008): a process
# could not be begun. What is more than it has is not asked for.
sed -i 's/HOST_FP_SIZE, 2696)/HOST_FP_SIZE, 11008)/' "$sources/arch/x86/um/user-offsets.c"
{
  make -s -C "$sources" ARCH=um defconfig
  cat "$here/config" >>"$sources/.config"
  make -s -C "$sources" ARCH=um olddefconfig
  make -s -C "$sources" ARCH=um -j"$(nproc)" linux
} >"$sources/user-mode.log" 2>&1
# Its memory is a file, which is to be in memory itself.
exec env TMPDIR=/dev/shm "$sources/linux" mem=1024M rootfstype=hostfs rootflags=/ ro quiet \
  con=null con0=fd:0,fd:1 ssl=null CULVERT_CYCLES="${CULVERT_CYCLES-}" CULVERT_SEED="${CULVERT_SEED-}" \
  ROWS="$(IFS=,; echo "$*")" init="$here/init.sh" </dev/null
