// Sums in one order, whatever runs first.
#pragma once

#include "acf/pack.cuh"

namespace acf {

// Over the 32 lanes of a warp; every lane gets it.
__device__ inline float warp_sum(float value) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// Over a block of whole warps; thread 0 gets it. `scratch` holds one float per warp.
__device__ inline float block_sum(float value, float* scratch) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    __syncthreads();  // the scratch of the sum before has been read
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    if (warp == 0) value = warp_sum(lane < warps ? scratch[lane] : 0.0f);
    return value;
}

// What a thread adds up: per lane of a pack (FP32 for FP16 and FP32, exact integers for INT8).
template <class T>
struct Tally {
    static constexpr int kLanes = Lanes<T>::count;
    float sum[kLanes];

    __device__ Tally() {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) sum[i] = 0.0f;
    }
    __device__ void add(const Pack& pack) {
        float value[kLanes];
        unpack<T>(pack, value);
#pragma unroll
        for (int i = 0; i < kLanes; ++i) sum[i] += value[i];
    }
    __device__ float of(int lane) const { return sum[lane]; }
};

template <>
struct Tally<Int8> {
    static constexpr int kLanes = 16;
    int sum[kLanes];

    __device__ Tally() {
#pragma unroll
        for (int i = 0; i < kLanes; ++i) sum[i] = 0;
    }
    __device__ void add(const Pack& pack) {
#pragma unroll
        for (int i = 0; i < kLanes; ++i)
            sum[i] = __dp4a(static_cast<int>(pack.word[i / 4]), 1 << (8 * (i % 4)), sum[i]);
    }
    __device__ float of(int lane) const { return static_cast<float>(sum[lane]); }
};

// The same where the lanes are one channel: a single sum at the end.
template <class T>
struct Total {
    Tally<T> lanes;
    float rest = 0.0f;

    __device__ void add(const Pack& pack) { lanes.add(pack); }
    __device__ void add(T element) { rest += widen(element); }
    __device__ float value() const {
        constexpr int count = Lanes<T>::count;
        float sum[count];
#pragma unroll
        for (int i = 0; i < count; ++i) sum[i] = lanes.of(i);
#pragma unroll
        for (int step = count / 2; step > 0; step /= 2) {
#pragma unroll
            for (int i = 0; i < step; ++i) sum[i] += sum[i + step];
        }
        return sum[0] + rest;
    }
};

template <>
struct Total<Int8> {
    int sum = 0;

    __device__ void add(const Pack& pack) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sum = __dp4a(static_cast<int>(pack.word[i]), 0x01010101, sum);
    }
    __device__ void add(Int8 element) { sum += element; }
    __device__ float value() const { return static_cast<float>(sum); }
};

}  // namespace acf
