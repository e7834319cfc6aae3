#!/bin/sh
# damage.sh CORPUS [RUNS [SEED]]: damages files of the corpus and runs the codec on them, with
# AddressSanitizer and UBSan; half of the runs with a build that takes every checksum for right.
# No allocation may exceed 64 MiB.
set -eu
corpus=$(realpath "$1")
runs=${2:-20000}
seed=${3:-1}
cd "$(dirname "$0")/.."
make -s BUILD=build/damage damage
make -s BUILD=build/damage-any CFLAGS_MORE=-DUNWEIGHT_ACCEPT_ANY_CHECKSUM damage
export ASAN_OPTIONS=max_allocation_size_mb=64:hard_rss_limit_mb=512:detect_leaks=1
for build in damage damage-any; do
    program=$PWD/build/$build/damage
    # One call, so that a seed always gives the same damage.
    (cd "$corpus" && find . -name '*.unw' -o -name '*.safetensors' | LC_ALL=C sort |
        xargs -n 100000 -s 1000000 -x "$program" "$runs" "$seed")
done
