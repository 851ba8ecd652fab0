// The last step of both operators: y[c] = sum over branches b of x[bC + c] * gate(e) * vote[bC +
// c].
//
// One pass: features and logits are read once, 16 bytes at a time, several packs of each in flight;
// sums are FP32 in registers. A branch's vote is applied to the features before the gate's result
// is there, so that the slow unit's latency is hidden.
#pragma once

#include "acf/gate.cuh"
#include "acf/place.cuh"

namespace acf {

constexpr int kWeighThreads = 256;

template <class T>
__device__ inline void weigh(float (&sum)[Lanes<T>::count], const Pack& features,
                             const Pack& logits, float vote, Gate<T> gate) {
    constexpr int V = Lanes<T>::count;
    float x[V], e[V];
    unpack<T>(features, x);
    unpack<T>(logits, e);
#pragma unroll
    for (int i = 0; i < V; ++i) sum[i] = fmaf(x[i] * vote, gate(e[i]), sum[i]);
}

template <class T>
__device__ inline void weigh(float (&sum)[Lanes<T>::count], const Pack& features,
                             const Pack& logits, const float (&vote)[Lanes<T>::count],
                             Gate<T> gate) {
    constexpr int V = Lanes<T>::count;
    float x[V], e[V];
    unpack<T>(features, x);
    unpack<T>(logits, e);
#pragma unroll
    for (int i = 0; i < V; ++i) sum[i] = fmaf(x[i] * vote[i], gate(e[i]), sum[i]);
}

// The V votes of a pack of channels; 0 for lanes that are nobody's.
template <int V>
__device__ inline void votes_of(const float* votes, int valid, float (&vote)[V]) {
    if (valid == V && bytes_off(votes) == 0) {
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            const float4 four = __ldg(reinterpret_cast<const float4*>(votes + i));
            vote[i] = four.x;
            vote[i + 1] = four.y;
            vote[i + 2] = four.z;
            vote[i + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i) vote[i] = i < valid ? __ldg(votes + i) : 0.0f;
    }
}

// Writes `room` of the V channels of a pixel; those from `valid` on are padding and become 0,
// whatever was computed there.
template <class T, bool kAligned>
__device__ inline void put(T* at, float (&value)[Lanes<T>::count], int valid, int room) {
    constexpr int V = Lanes<T>::count;
#pragma unroll
    for (int i = 0; i < V; ++i) value[i] = i < valid ? value[i] : 0.0f;
    if (kAligned || (room == V && bytes_off(at) == 0)) {
        store(at, packed<T>(value));
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i)
            if (i < room) at[i] = narrow<T>(value[i]);
    }
}

// ------------------------------------------------------------------------------------------ NCHW

// Packs of each stream that a thread has in flight: 16 sums in registers, and half as many where
// packs come in pairs that are shifted. `blocks` of a multiprocessor share its registers where
// channels come last; without such a number the compiler saves registers at the price of waiting
// for every load.
template <class T, bool kAligned>
struct Depth {
    static constexpr int packs = 16 / Lanes<T>::count / (kAligned || Lanes<T>::count == 16 ? 1 : 2);
    static constexpr int blocks = kAligned && sizeof(T) < 4 ? 3 : 2;
};

// Elements low .. high - 1 of the packs that begin at element `start` of a plane are in it.
struct Reach {
    int low, high;
};

template <int V>
__device__ inline Reach reach_of(Index start, Index plane) {
    Reach reach;
    reach.low = start < 0 ? static_cast<int>(-start) : 0;
    reach.high = plane - start < V ? static_cast<int>(plane - start) : V;
    return reach;
}

// A run of packs of one output plane; a plane's votes are one number per branch.
//
// In the general form the packs are the output's, so the first and the last of a plane may be in
// part other planes'; of the inputs, any two packs are read and shifted into place.
template <class T, bool kAligned, int U>
__device__ void weigh_planes(const T* features, const T* logits, const float* votes, T* output,
                             Index plane, int n, int width, int branches, int maps, Gate<T> gate) {
    constexpr int V = Lanes<T>::count;
    const int channels = width * branches;
    const Index features_size = n * channels * plane,
                logits_size = n * static_cast<Index>(maps) * plane;
    const Index tile = static_cast<Index>(gridDim.x - 1 - blockIdx.x) * blockDim.x * U;
    for (int q = n * width - 1 - static_cast<int>(blockIdx.y); q >= 0; q -= gridDim.y) {
        const int image = q / width, c = q - image * width;
        T* out = output + q * plane;
        const int before = kAligned ? 0 : bytes_off(out) / static_cast<int>(sizeof(T));
        const Index packs = (plane + before + V - 1) / V;
        if (tile >= packs) continue;
        Index at[U];
        bool live[U], full = true;
#pragma unroll
        for (int u = 0; u < U; ++u) {
            const Index g = tile + threadIdx.x + static_cast<Index>(u) * blockDim.x;
            live[u] = g < packs;
            // Whoever has nothing to do loads what a neighbour loads, and stores nothing.
            at[u] = (live[u] ? g : packs - 1) * V - before;
            full = full && at[u] >= 0 && at[u] + V <= plane;
        }
        float sum[U][V];
#pragma unroll
        for (int u = 0; u < U; ++u)
#pragma unroll
            for (int i = 0; i < V; ++i) sum[u][i] = 0.0f;
#pragma unroll 1
        for (int b = 0; b < branches; ++b) {
            const int channel = image * channels + b * width + c;
            const float vote = __ldg(votes + channel);
            const T* x = features + channel * plane;
            const T* e = logits + (maps == 1 ? image : channel) * plane;
            Pack px[U], pe[U];
            if constexpr (kAligned) {
#pragma unroll
                for (int u = 0; u < U; ++u) px[u] = load_last(x + at[u]);
#pragma unroll
                for (int u = 0; u < U; ++u) pe[u] = load_last(e + at[u]);
            } else {
                bool whole = full;
#pragma unroll
                for (int u = 0; u < U; ++u)
                    whole = whole && inside(x + at[u], features, features + features_size) &&
                            inside(e + at[u], logits, logits + logits_size);
                if (whole) {
                    Pair fx[U], fe[U];
#pragma unroll
                    for (int u = 0; u < U; ++u) fx[u] = load_pair(x + at[u]);
#pragma unroll
                    for (int u = 0; u < U; ++u) fe[u] = load_pair(e + at[u]);
#pragma unroll
                    for (int u = 0; u < U; ++u) {
                        px[u] = shifted(fx[u], bytes_off(x + at[u]));
                        pe[u] = shifted(fe[u], bytes_off(e + at[u]));
                    }
                } else {
#pragma unroll
                    for (int u = 0; u < U; ++u) {
                        const Reach reach = reach_of<V>(at[u], plane);
                        px[u] = gather<T>(x + at[u], reach.low, reach.high);
                        pe[u] = gather<T>(e + at[u], reach.low, reach.high);
                    }
                }
            }
#pragma unroll
            for (int u = 0; u < U; ++u) weigh<T>(sum[u], px[u], pe[u], vote, gate);
        }
#pragma unroll
        for (int u = 0; u < U; ++u) {
            if (!live[u]) continue;
            if (kAligned || (at[u] >= 0 && at[u] + V <= plane)) {
                store(out + at[u], packed<T>(sum[u]));
            } else {
                const Reach reach = reach_of<V>(at[u], plane);
#pragma unroll
                for (int i = 0; i < V; ++i)
                    if (i >= reach.low && i < reach.high) out[at[u] + i] = narrow<T>(sum[u][i]);
            }
        }
    }
}

// ------------------------------------------------------------------------------------------ NHWC

// Block: (packs of a slice, pixels). A thread has the same channels in U pixels.
template <class T, bool kAligned, int U>
__device__ void weigh_pixels(const T* features, const T* logits, const float* votes, T* output,
                             Slab from, Slab to, int n, int width, int branches, Gate<T> gate) {
    constexpr int V = Lanes<T>::count;
    const int channel = (blockIdx.y * blockDim.x + threadIdx.x) * V;
    const Index first =
        static_cast<Index>(gridDim.x - 1 - blockIdx.x) * blockDim.y * U + threadIdx.y;
    if (channel >= to.channels || first >= from.pixels) return;
    const int valid = lanes_of<V>(channel, width), room = to.room<V>(channel);
    Index offset[U];
#pragma unroll
    for (int u = 0; u < U; ++u) {
        // Beyond the last pixel, the last one is read again and not written.
        const Index pixel = first + u * static_cast<Index>(blockDim.y);
        offset[u] = (pixel < from.pixels ? pixel : from.pixels - 1) * from.lanes;
    }
    for (int image = n - 1 - static_cast<int>(blockIdx.z); image >= 0; image -= gridDim.z) {
        float sum[U][V];
#pragma unroll
        for (int u = 0; u < U; ++u)
#pragma unroll
            for (int i = 0; i < V; ++i) sum[u][i] = 0.0f;
#pragma unroll 1
        for (int b = 0; b < branches && valid > 0; ++b) {
            const int source = b * width + channel;
            Pack px[U], pe[U];
            fetch<T, kAligned, true, U>(Spot<T>(features, from, image, source, valid), features,
                                        features + n * from.image, offset, px);
            fetch<T, kAligned, true, U>(Spot<T>(logits, from, image, source, valid), logits,
                                        logits + n * from.image, offset, pe);
            float vote[V];
            votes_of<V>(votes + image * branches * width + source, valid, vote);
#pragma unroll
            for (int u = 0; u < U; ++u) weigh<T>(sum[u], px[u], pe[u], vote, gate);
        }
#pragma unroll
        for (int u = 0; u < U; ++u) {
            const Index pixel = first + u * static_cast<Index>(blockDim.y);
            if (pixel < from.pixels)
                put<T, kAligned>(output + to.of(image, pixel, channel), sum[u], valid, room);
        }
    }
}

}  // namespace acf
