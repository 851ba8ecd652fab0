#!/usr/bin/env bash
# The kernels by nvcc, for every SM that it knows: a second compiler's opinion, and
# cubins for who has a toolkit and no NVRTC. Prints registers, shared memory and
# spills; exit 1 if registers spill, 2 where there is no nvcc.
#
#   kernels/compile.sh [FOLDER [SM,SM,...]]     e.g. kernels/compile.sh build/cubins 86,87
#
# FOLDER gets smNN.cubin and smNN.log. NVCC and PYTHON name other programs.
set -euo pipefail

kernels=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-build/cubins}
wanted=${2:-75,80,86,87,89,90,100,110,120}
python=${PYTHON:-python3}

nvcc=${NVCC:-$(command -v nvcc || true)}
if [[ -z $nvcc ]]; then
    for place in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
        if [[ -n $place && -x $place/bin/nvcc ]]; then
            nvcc=$place/bin/nvcc
            break
        fi
    done
fi
if [[ -z $nvcc ]] || ! command -v "$nvcc" >/dev/null; then
    echo "compile.sh: no nvcc. Set NVCC, or use NVRTC: python -m acf_edge.cuda" >&2
    exit 2
fi

known=$("$nvcc" --list-gpu-code)
mkdir -p "$out"
# One unit of all sources, as NVRTC gets it.
unit=$(mktemp --suffix=.cu)
trap 'rm -f "$unit"' EXIT
(cd "$kernels" && LC_ALL=C ls ./*.cu) | sed 's|^\./\(.*\)$|#include "\1"|' >"$unit"

done_sms=()
for sm in ${wanted//,/ }; do
    if ! grep -qx "sm_$sm" <<<"$known"; then
        echo "compile.sh: this nvcc makes no code for SM $sm: left out" >&2
        continue
    fi
    if ! "$nvcc" -cubin -arch="sm_$sm" -std=c++17 -I"$kernels" -Xptxas -v \
        -o "$out/sm$sm.cubin" "$unit" >"$out/sm$sm.log" 2>&1; then
        cat "$out/sm$sm.log" >&2
        exit 1
    fi
    done_sms+=("$sm")
done
if ((${#done_sms[@]} == 0)); then
    echo "compile.sh: nothing was compiled" >&2
    exit 2
fi

export PYTHONPATH="$kernels/..${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m acf_edge.cuda --nvcc "$out" --sm "$(IFS=, && echo "${done_sms[*]}")"
