// Where elements lie when channels come last, and how packs of them are fetched from any place.
#pragma once

#include "acf/pack.cuh"

namespace acf {

constexpr int kGroup = 32;

// Channels in groups of `lanes`: [image][group][pixel][lane]. One group with all the channels is
// NHWC, groups of 32 are kCHW32: where there are several, they are of 32.
struct Slab {
    Index pixels;  // of an image
    Index group;   // elements of a group
    Index image;   // elements of an image
    int lanes;
    int channels;  // with the padding

    // How many of the V places from a channel's on are in its group.
    template <int V>
    __device__ int room(int channel) const {
        const int left = (group_of(channel) + 1) * lanes - channel;
        return left < V ? left : V;
    }

    // A shift: a division by a number from outside would stand between the loads of each branch.
    __device__ int group_of(int channel) const {
        return channel < lanes ? 0 : static_cast<int>(static_cast<unsigned int>(channel) / kGroup);
    }

    __device__ Index of(Index n, Index pixel, int channel) const {
        const int g = group_of(channel);
        return n * image + g * group + pixel * lanes + (channel - g * lanes);
    }
};

__device__ inline Slab slab_of(Index pixels, int channels, int lanes) {
    Slab slab;
    slab.pixels = pixels;
    slab.lanes = lanes;
    slab.group = pixels * lanes;
    slab.channels = channels <= lanes ? lanes : (channels + kGroup - 1) / kGroup * kGroup;
    slab.image = slab.channels * pixels;
    return slab;
}

// How many of the V channels from `channel` on there are.
template <int V>
__device__ inline int lanes_of(int channel, int channels) {
    const int left = channels - channel;
    return left >= V ? V : left > 0 ? left : 0;
}

// Elements low .. high - 1 of the V from `at` on, one by one; the others are 0.
template <class T>
__device__ inline Pack gather(const T* at, int low, int high) {
    Pack pack = {{0, 0, 0, 0}};
#pragma unroll
    for (int i = 0; i < Lanes<T>::count; ++i)
        if (i >= low && i < high) insert<T>(pack, i, at[i]);
    return pack;
}

// V channels of some pixel: where they begin, how many are wanted, and when another group of
// channels goes on with them.
template <class T>
struct Spot {
    const T* at;   // the first channel at pixel 0 of the image
    int valid;     // channels that are wanted; what comes in the other lanes nobody looks at
    int here;      // of those, in this group
    Index beyond;  // from the end of this group's lanes to the next group's

    __device__ Spot(const T* base, const Slab& slab, Index image, int channel, int count) {
        const int group = slab.group_of(channel), lane = channel - group * slab.lanes;
        at = base + image * slab.image + group * slab.group + lane;
        valid = count;
        here = slab.lanes - lane;
        beyond = slab.group - slab.lanes;
    }

    __device__ Pack gathered(Index offset) const {
        Pack pack = {{0, 0, 0, 0}};
#pragma unroll
        for (int i = 0; i < Lanes<T>::count; ++i)
            if (i < valid) insert<T>(pack, i, at[offset + i + (i < here ? 0 : beyond)]);
        return pack;
    }
};

// The packs of U pixels, `offset` elements from the first. All loads begin before one is used.
template <class T, bool kAligned, bool kLast, int U>
__device__ inline void fetch(const Spot<T>& spot, const T* begin, const T* end,
                             const Index (&offset)[U], Pack (&pack)[U]) {
    if constexpr (kAligned) {
#pragma unroll
        for (int u = 0; u < U; ++u)
            pack[u] = kLast ? load_last(spot.at + offset[u]) : load(spot.at + offset[u]);
    } else {
        bool whole = spot.here >= spot.valid;
#pragma unroll
        for (int u = 0; u < U; ++u) whole = whole && inside(spot.at + offset[u], begin, end);
        if (whole) {
            Pair pair[U];
#pragma unroll
            for (int u = 0; u < U; ++u) pair[u] = load_pair(spot.at + offset[u]);
#pragma unroll
            for (int u = 0; u < U; ++u) pack[u] = shifted(pair[u], bytes_off(spot.at + offset[u]));
        } else {
#pragma unroll
            for (int u = 0; u < U; ++u) pack[u] = spot.gathered(offset[u]);
        }
    }
}

}  // namespace acf
