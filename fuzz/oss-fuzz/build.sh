#!/usr/bin/env bash
# Builds all targets with their seeds and dictionary into $OUT, as OSS-Fuzz wants them. Outside of OSS-Fuzz:
#
#   OUT=/tmp/out fuzz/oss-fuzz/build.sh
set -euo pipefail
if [ -d "${SRC-}/unweight" ]; then cd "$SRC/unweight"; else cd "$(dirname "$0")/../.."; fi
: "${OUT:?the folder for the targets}"

# The same options as in .ci/fuzz. The stable compiler needs the variable, the nightly one ignores it.
export RUSTC_BOOTSTRAP=1
triple=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="${RUSTFLAGS-} -Cllvm-args=-asan-instrumentation-with-call-threshold=0" \
  cargo fuzz build --target "$triple" --no-trace-compares --codegen-units 16
mkdir -p "$OUT"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
# The compiler's flags of OSS-Fuzz are for the targets.
env -u RUSTFLAGS cargo run --quiet -p unweight-properties --example seed "$seeds"
for target in $(cargo fuzz list); do
  cp "fuzz/target/$triple/release/$target" "$OUT/$target"
  cp fuzz/unweight.dict "$OUT/$target.dict"
  printf '[libfuzzer]\nmax_len = 8192\nlen_control = 0\nmalloc_limit_mb = 64\n' >"$OUT/$target.options"
  python3 -m zipfile -c "$OUT/${target}_seed_corpus.zip" "$seeds/$target"/*
done
