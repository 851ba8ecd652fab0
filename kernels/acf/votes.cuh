// From partial sums to votes: means, small matrix products, sigmoids. FP32, one order each.
#pragma once

#include "acf/gate.cuh"
#include "acf/reduce.cuh"

namespace acf {

constexpr int kVotesThreads = 512;

// A warp works on so many sums at once: one block does all of this, and what it would wait for,
// load after load, is longer than what it computes.
constexpr int kTogether = 4;

// Lane d gets the warp's sum of value[d].
__device__ inline float sum_of_lane(float (&value)[kTogether]) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
#pragma unroll
        for (int d = 0; d < kTogether; ++d)
            value[d] += __shfl_xor_sync(0xffffffffu, value[d], step);
    }
    const int lane = threadIdx.x % 32;
    float mine = 0.0f;
#pragma unroll
    for (int d = 0; d < kTogether; ++d) mine = lane == d ? value[d] : mine;
    return mine;
}

// means[c] = unit * (all parts of channel c).
__device__ inline void finish_means(const float* partial, float* means, int channels, int chunks,
                                    float unit) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int c = warp; c < channels; c += kTogether * warps) {
        const float* parts[kTogether];
        float sum[kTogether];
#pragma unroll
        for (int d = 0; d < kTogether; ++d) {
            // Beyond the last channel, the last one is read again and not written.
            const int channel = c + d * warps < channels ? c + d * warps : channels - 1;
            parts[d] = partial + static_cast<Index>(channel) * chunks;
            sum[d] = 0.0f;
        }
#pragma unroll 4
        for (int k = lane; k < chunks; k += 32) {
#pragma unroll
            for (int d = 0; d < kTogether; ++d) sum[d] += parts[d][k];
        }
        const float mine = sum_of_lane(sum);
        if (lane < kTogether && c + lane * warps < channels) means[c + lane * warps] = mine * unit;
    }
}

// finish(row, product of that row with the vector + its bias) for rows first .. last - 1, by one
// thread each. The vector was written by this block, so it is read the plain way.
template <class W, class Finish>
__device__ inline void matrix_product(const W* matrix, const W* bias, const float* vector,
                                      int columns, int first, int last, Finish finish) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int r = first + warp; r < last; r += kTogether * warps) {
        const W* row[kTogether];
        float sum[kTogether];
#pragma unroll
        for (int d = 0; d < kTogether; ++d) {
            const int from = r + d * warps < last ? r + d * warps : last - 1;
            row[d] = matrix + static_cast<Index>(from) * columns;
            sum[d] = 0.0f;
        }
        const int mine = r + lane * warps;
        const bool writes = lane < kTogether && mine < last;
        const float lift = writes ? widen(bias[mine]) : 0.0f;
#pragma unroll 4
        for (int k = lane; k < columns; k += 32) {
            const float factor = vector[k];
#pragma unroll
            for (int d = 0; d < kTogether; ++d) sum[d] = fmaf(widen(row[d][k]), factor, sum[d]);
        }
        const float product = sum_of_lane(sum);
        if (writes) finish(mine, product + lift);
    }
}

}  // namespace acf
