#!/bin/sh
# The kernels' machine code as a C++ source (see cubins.h), made by nvcc; without nvcc,
# `python -m acf_edge.cuda embed` makes the same by NVRTC.
#
#   embed_nvcc.sh OUT.cpp [SM,SM,...]      without SMs: all that are served and that nvcc knows
#
# NVCC names the compiler. The same sources, SMs and compiler give the same bytes.
set -eu

out=${1:?usage: embed_nvcc.sh OUT.cpp [SM,SM,...]}
sms=${2:-}
nvcc=${NVCC:-nvcc}
kernels=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
served='75 80 86 87 89 90 100 110 120'

fail() {
  echo "embed_nvcc.sh: $1" >&2
  exit 1
}

known=$("$nvcc" --list-gpu-code) || fail "'$nvcc' does not run"
known=$(echo "$known" | sed -n 's/^sm_\([0-9]*\)$/\1/p')
if [ -z "$sms" ]; then
  for sm in $served; do
    if echo "$known" | grep -qx "$sm"; then sms="$sms $sm"; fi
  done
else
  sms=$(echo "$sms" | tr ',;' '\n\n' | grep . | sort -nu | tr '\n' ' ')
fi
[ -n "${sms# }" ] || fail "'$nvcc' makes code for none of the SMs that are served"
for sm in $sms; do
  echo "$known" | grep -qx "$sm" ||
    fail "'$nvcc' makes no code for SM $sm; it knows: $(echo "$known" | tr '\n' ' ')"
done

# Beside the target, so that the last step is a rename: the source is there whole or not at all.
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# One unit of all kernels, and one hash over whatever decides what they do: as in
# acf_edge/cuda/sources.py, byte for byte.
(cd "$kernels" && LC_ALL=C && export LC_ALL && ls -- *.cu | sort) |
  sed 's/.*/#include "&"/' > "$work/kernels.cu"
(
  cd "$kernels"
  { ls -- *.cu; find acf -name '*.cuh' -o -name '*.h'; } | LC_ALL=C sort | while IFS= read -r name; do
    printf '%s\n%d\n' "$name" "$(wc -c < "$name")"
    cat -- "$name"
  done
) > "$work/hashed"
hash=$(sha256sum < "$work/hashed" | cut -d ' ' -f 1)
compiler="nvcc $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')"

{
  echo '// Written by kernels/plugin/embed_nvcc.sh. Not edited by hand.'
  echo 'namespace acf {'
  echo 'namespace cubins {'
  echo 'struct Image { int sm; unsigned char const* data; unsigned long long size; };'
  echo 'extern Image const kImages[];'
  echo 'extern int const kImageCount;'
  echo 'extern char const kKernelHash[];'
  echo 'extern char const kCompiler[];'
  count=0
  table=''
  for sm in $sms; do
    echo "SM $sm" >&2
    "$nvcc" --cubin "--gpu-architecture=sm_$sm" --std=c++17 "-I$kernels" \
      -o "$work/sm.cubin" "$work/kernels.cu" >&2 || exit 1
    echo "alignas(16) static unsigned char const kSm$sm[] = {"
    od -An -v -tu1 -w32 "$work/sm.cubin" | sed 's/^ *//; s/  */,/g; s/$/,/'
    echo '};'
    table="$table    {$sm, kSm$sm, sizeof(kSm$sm)},
"
    count=$((count + 1))
  done
  printf 'Image const kImages[] = {\n%s};\n' "$table"
  echo "int const kImageCount = $count;"
  echo "char const kKernelHash[] = \"$hash\";"
  echo "char const kCompiler[] = \"$compiler\";"
  echo '}  // namespace cubins'
  echo '}  // namespace acf'
} > "$work/source" || fail 'nvcc failed'
mv -- "$work/source" "$out"
