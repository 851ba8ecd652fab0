// The kernels' machine code, as the generated source defines it: by nvcc (embed_nvcc.sh) or by
// NVRTC (python -m acf_edge.cuda embed). Each image holds every kernel.
#pragma once

namespace acf::cubins {

struct Image {
    int sm;  // 87 for compute capability 8.7
    unsigned char const* data;
    unsigned long long size;
};

extern Image const kImages[];  // ascending in sm
extern int const kImageCount;
extern char const kKernelHash[];  // 64 hexadecimal digits, over the kernels' sources
extern char const kCompiler[];    // "NVRTC 13.0"

}  // namespace acf::cubins
