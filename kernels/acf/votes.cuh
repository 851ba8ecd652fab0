// From partial sums to votes: means, small matrix products, sigmoids. FP32, one order each.
#pragma once

#include "acf/gate.cuh"
#include "acf/reduce.cuh"

namespace acf {

constexpr int kVotesThreads = 512;

// means[c] = unit * (all parts of channel c); a warp each.
__device__ inline void finish_means(const float* partial, float* means, int channels, int chunks,
                                    float unit) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int c = warp; c < channels; c += warps) {
        const float* parts = partial + static_cast<Index>(c) * chunks;
        float sum = 0.0f;
#pragma unroll 4
        for (int k = lane; k < chunks; k += 32) sum += parts[k];
        sum = warp_sum(sum);
        if (lane == 0) means[c] = sum * unit;
    }
}

// The product of a row of a matrix with a vector, by one warp; every lane gets it. The vector was
// written by this block, so it is read the plain way.
template <class W>
__device__ inline float row_product(const W* row, const float* vector, int columns) {
    float sum = 0.0f;
#pragma unroll 4
    for (int k = threadIdx.x % 32; k < columns; k += 32) sum = fmaf(widen(row[k]), vector[k], sum);
    return warp_sum(sum);
}

}  // namespace acf
