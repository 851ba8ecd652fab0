#!/bin/sh
# Does the plugin compile and link against every TensorRT that it serves, for PCs and for Jetsons?
#
#   check_headers.sh [FOLDER]
#
# FOLDER (or ACF_TENSORRT_HEADERS) holds one folder of headers per version, e.g. 10.3.0/NvInfer.h or
# 10.3.0/include/NvInfer.h. They are public: NVIDIA/TensorRT on GitHub, include/ of each tag.
# CUDA_INCLUDE names the folder with cuda_runtime_api.h; else a toolkit's or a wheel's is taken.
# Exit 0: all compiled, or what is needed is missing, and then the last line begins with "skipped".
set -u

plugin=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-${ACF_TENSORRT_HEADERS:-}}
flags='-std=c++17 -O0 -fPIC -fvisibility=hidden -Wall -Wextra -Wpedantic -Wconversion -Werror'
sources='driver exports fields log plugin prepared tensors'
exported='acfPluginDescription getCreators setLoggerFinder'
# What JetPack 6 (Ubuntu 22.04) has: an object that asks for more does not load there.
newest_glibc=2.35
newest_glibcxx=3.4.30

skip() {
  echo "skipped: $1"
  exit 0
}

[ -n "$folder" ] || skip 'no folder of TensorRT headers was named (ACF_TENSORRT_HEADERS)'
[ -d "$folder" ] || skip "'$folder' is no folder"
for cuda in "${CUDA_INCLUDE:-}" /usr/local/cuda/include /usr/local/cuda-*/include \
  $(python3 -c 'import importlib.util as u, pathlib as p
s = u.find_spec("nvidia")
for r in s.submodule_search_locations if s else ():
    for f in sorted(p.Path(r).glob("*/include"), reverse=True): print(f)' 2>/dev/null); do
  [ -f "$cuda/cuda.h" ] && [ -f "$cuda/crt/host_defines.h" ] && break
  cuda=''
done
[ -n "$cuda" ] || skip 'no CUDA headers (set CUDA_INCLUDE, or: pip install nvidia-cuda-runtime nvidia-cuda-crt)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

cat > "$work/embedded.cpp" <<'END'
#include "cubins.h"
namespace acf::cubins {
static unsigned char const none[1] = {0};
Image const kImages[] = {{87, none, 1}};
int const kImageCount = 1;
char const kKernelHash[] = "0000000000000000000000000000000000000000000000000000000000000000";
char const kCompiler[] = "none";
}
END
# Plugin interfaces, whose layout is what a library and another TensorRT have to agree on.
cat > "$work/layouts.cpp" <<'END'
#include <NvInferRuntime.h>
using namespace nvinfer1;
struct AcfPlugin : IPluginV3, IPluginV3OneCore, IPluginV3OneBuild, IPluginV3OneRuntime {};
struct AcfCreator : IPluginCreatorV3One {};
END

# The newest version of symbols NAME_x.y that the library $1 asks for.
newest() {
  "$reader" --version-info "$1" | sed -n "s/.*Name: $2_\([0-9.]*\).*/\1/p" | sort -V | tail -1
}

not_newer() {
  [ -z "$1" ] || [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -1)" = "$2" ]
}

# All sources as one unit: TensorRT's headers are read once.
for source in $sources; do echo "#include \"$source.cpp\""; done > "$work/unit.cpp"

# Compile and link both libraries: $1 compiler, $2 headers, $3 folder for results.
build() {
  mkdir -p "$3"
  for source in "$work/unit" "$work/embedded" "$plugin/register"; do
    "$1" $flags "-I$plugin" "-I$plugin/.." -isystem "$2" -isystem "$cuda" \
      -c "$source.cpp" -o "$3/${source##*/}.o" || return 1
  done
  "$1" -shared -fPIC "$plugin/link_stand_in.cpp" -Wl,-soname,libnvinfer.so.0 \
    -o "$3/libnvinfer.so" || return 1
  "$1" -shared "$3/unit.o" "$3/embedded.o" -ldl -Wl,--no-undefined \
    "-Wl,--version-script=$plugin/exports.map" -o "$3/libacf_plugins.so" || return 1
  "$1" -shared "$3/unit.o" "$3/embedded.o" "$3/register.o" -ldl "-L$3" -lnvinfer \
    -Wl,--no-undefined "-Wl,--version-script=$plugin/exports.map" \
    -o "$3/libacf_plugins_preload.so"
}

# What the library at $1 shows and needs is what it should: nothing of CUDA, nothing of TensorRT.
inspect() {
  shown=$("$lister" -D --defined-only "$1" | sed 's/.* //; s/@.*//' | sort | tr '\n' ' ')
  [ "$shown" = "$exported " ] || { echo "exports $shown, not $exported"; return 1; }
  needed=$("$lister" -D --undefined-only "$1" | sed 's/.* //' | grep -E '^cu[A-Z]|^cuda|nvinfer|getPlugin')
  [ -z "$needed" ] || { echo "needs $needed"; return 1; }
  not_newer "$(newest "$1" GLIBC)" $newest_glibc || { echo 'needs a newer glibc'; return 1; }
  not_newer "$(newest "$1" GLIBCXX)" $newest_glibcxx || { echo 'needs a newer libstdc++'; return 1; }
}

failed=0
checked=0
layouts=''
for entry in $(ls "$folder" | sort -V); do
  headers=$folder/$entry
  [ -f "$headers/NvInfer.h" ] || headers=$headers/include
  [ -f "$headers/NvInfer.h" ] || continue
  for machine in x86-64: aarch64:aarch64-linux-gnu-; do
    name=${machine%%:*}
    tools=${machine#*:}
    case "$name-$(uname -m)" in
      x86-64-x86_64 | aarch64-aarch64) tools='' ;;
      x86-64-*) tools=x86_64-linux-gnu- ;;
    esac
    lister=${tools}nm
    reader=${tools}readelf
    if ! command -v "${tools}g++" > /dev/null; then
      echo "TensorRT $entry  $name  not checked: there is no ${tools}g++"
      continue
    fi
    result=$work/$entry-$name
    checked=$((checked + 1))
    if build "${tools}g++" "$headers" "$result" > "$work/log" 2>&1 &&
      inspect "$result/libacf_plugins.so" >> "$work/log" 2>&1; then
      echo "TensorRT $entry  $name  compiled and linked"
    else
      echo "TensorRT $entry  $name  FAILED"
      sed 's/^/    /; 40q' "$work/log"
      failed=1
    fi
  done
  if g++ -std=c++17 -w -fsyntax-only "-fdump-lang-class=$work/classes" -isystem "$headers" \
    -isystem "$cuda" "$work/layouts.cpp" 2>/dev/null; then
    awk '/^Vtable for Acf/, /^$/' "$work/classes" > "$work/vtables-$entry"
    awk '/^Class nvinfer1::(PluginTensorDesc|DynamicPluginTensorDesc|PluginField|PluginFieldCollection|Dims64|DimsExprs)$/ { name = $2; getline; print name, $0 }' \
      "$work/classes" | sort >> "$work/vtables-$entry"
    layouts="$layouts $work/vtables-$entry"
  fi
done

[ "$checked" -gt 0 ] || skip "'$folder' holds no headers, or there is no compiler"
first=''
for layout in $layouts; do
  first=${first:-$layout}
  if ! diff -u "$first" "$layout"; then
    echo "plugin interfaces: ${layout##*-} has another layout than ${first##*-}"
    failed=1
  fi
done
[ "$failed" -ne 0 ] || [ -z "$first" ] || echo 'plugin interfaces: the same layout in every version'
exit "$failed"
