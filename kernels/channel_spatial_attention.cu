// acf::ChannelSpatialAttention: y[n] = x[n] * a[n] * sigmoid(s[n]) with the channel attention
// a[n] = sigmoid(W2 max(W1 mean(x[n]) + b1, 0) + b2). The means come from channel_means.cu.
//
// With a map per channel (K = C) the last step is the junction's with one branch
// (acf_weigh_* in junction_vote.cu), and so it is in NCHW where planes do not begin on 16 bytes.

#include "acf/votes.cuh"
#include "acf/weigh.cuh"

namespace acf {

template <class W>
__device__ void attention_votes(const float* partial, const W* squeeze_weight,
                                const W* squeeze_bias, const W* excite_weight, const W* excite_bias,
                                float* means, float* hidden, float* votes, int n, int channels,
                                int squeeze, int chunks, int rows, float unit, float gain) {
    for (Index image = blockIdx.y; image < n; image += gridDim.y) {
        const Index block = image * gridDim.x + blockIdx.x;
        float *own = means + block * channels, *unit_of = hidden + block * squeeze;
        finish_means(partial + image * channels * chunks, own, channels, chunks, unit);
        __syncthreads();
        matrix_product(squeeze_weight, squeeze_bias, own, channels, 0, squeeze,
                       [=](int k, float value) {
                           unit_of[k] = value < 0.0f ? 0.0f : value;  // a NaN stays one
                       });
        __syncthreads();
        const int first = blockIdx.x * rows;
        const int last = channels - first < rows ? channels : first + rows;
        float* to = votes + image * channels;
        matrix_product(excite_weight, excite_bias, unit_of, squeeze, first, last,
                       [=](int c, float logit) { to[c] = gain * sigmoid(logit); });
    }
}

// One map in NCHW: its gates are computed once and serve a slice of channels.
template <class T>
__device__ void attend_planes(const T* features, const T* logits, const float* votes, T* output,
                              Index plane, int n, int channels, int slice, Gate<T> gate) {
    constexpr int V = Lanes<T>::count, U = 16 / V, D = 2;
    const Index packs = plane / V;
    const Index first =
        static_cast<Index>(gridDim.x - 1 - blockIdx.x) * blockDim.x * U + threadIdx.x;
    const int from = (gridDim.y - 1 - blockIdx.y) * slice;
    const int to = channels - from < slice ? channels : from + slice;
    for (int image = n - 1 - static_cast<int>(blockIdx.z); image >= 0; image -= gridDim.z) {
        Index at[U];
        bool live[U];
        float open[U][V];
#pragma unroll
        for (int u = 0; u < U; ++u) {
            const Index g = first + static_cast<Index>(u) * blockDim.x;
            live[u] = g < packs;
            at[u] = (live[u] ? g : packs - 1) * V;
        }
        Pack map[U];
#pragma unroll
        for (int u = 0; u < U; ++u) map[u] = load(logits + image * plane + at[u]);
#pragma unroll
        for (int u = 0; u < U; ++u) {
            unpack<T>(map[u], open[u]);
#pragma unroll
            for (int i = 0; i < V; ++i) open[u][i] = gate(open[u][i]);
        }
#pragma unroll 1
        for (int c = from; c < to; c += D) {
            Pack pack[D][U];
#pragma unroll
            for (int d = 0; d < D; ++d) {
                // An odd slice ends with its last channel twice; it is stored once.
                const int channel = c + d < to ? c + d : to - 1;
#pragma unroll
                for (int u = 0; u < U; ++u)
                    pack[d][u] = load_last(
                        features + static_cast<Index>(image * channels + channel) * plane + at[u]);
            }
#pragma unroll
            for (int d = 0; d < D; ++d) {
                if (c + d >= to) break;
                const int row = image * channels + c + d;
                const float vote = __ldg(votes + row);
#pragma unroll
                for (int u = 0; u < U; ++u) {
                    float x[V];
                    unpack<T>(pack[d][u], x);
#pragma unroll
                    for (int i = 0; i < V; ++i) x[i] = x[i] * vote * open[u][i];
                    if (live[u]) store(output + row * plane + at[u], packed<T>(x));
                }
            }
        }
    }
}

// One map where channels come last: a thread has the same channels, and votes, in many pixels.
template <class T, bool kAligned, int U>
__device__ void attend_pixels(const T* features, const T* logits, const float* votes, T* output,
                              Slab from, Slab beside, Slab to, int n, int channels, Gate<T> gate) {
    constexpr int V = Lanes<T>::count;
    const int channel = (blockIdx.y * blockDim.x + threadIdx.x) * V;
    if (channel >= to.channels) return;
    const int valid = lanes_of<V>(channel, channels), room = to.room<V>(channel);
    const Index step = static_cast<Index>(gridDim.x) * blockDim.y * U;
    const Index start =
        static_cast<Index>(gridDim.x - 1 - blockIdx.x) * blockDim.y * U + threadIdx.y;
    for (int image = n - 1 - static_cast<int>(blockIdx.z); image >= 0; image -= gridDim.z) {
        float vote[V];
        votes_of<V>(votes + image * channels + channel, valid, vote);
        // A pack of padding alone reads some channel, and writes zeros.
        const Spot<T> spot(features, from, image, valid > 0 ? channel : 0, valid);
        const T* map = logits + image * beside.image;
        for (Index first = start; first < from.pixels; first += step) {
            Index pixel[U], offset[U];
            T open[U];
            Pack pack[U];
#pragma unroll
            for (int u = 0; u < U; ++u) {
                const Index p = first + u * static_cast<Index>(blockDim.y);
                pixel[u] = p < from.pixels ? p : from.pixels - 1;
                offset[u] = pixel[u] * from.lanes;
            }
            fetch<T, kAligned, true, U>(spot, features, features + n * from.image, offset, pack);
#pragma unroll
            for (int u = 0; u < U; ++u) open[u] = map[pixel[u] * beside.lanes];
#pragma unroll
            for (int u = 0; u < U; ++u) {
                if (u > 0 && first + u * static_cast<Index>(blockDim.y) >= from.pixels) break;
                const float opened = gate(widen(open[u]));
                float x[V];
                unpack<T>(pack[u], x);
#pragma unroll
                for (int i = 0; i < V; ++i) x[i] = x[i] * vote[i] * opened;
                put<T, kAligned>(output + to.of(image, pixel[u], channel), x, valid, room);
            }
        }
    }
}

}  // namespace acf

#define ACF_ATTENTION_VOTES(NAME, W)                                                               \
    extern "C" __global__ void __launch_bounds__(acf::kVotesThreads) acf_attention_votes_##NAME(   \
        const float* partial, const W* squeeze_weight, const W* squeeze_bias,                      \
        const W* excite_weight, const W* excite_bias, float* means, float* hidden, float* votes,   \
        int n, int channels, int squeeze, int chunks, int rows, float unit, float gain) {          \
        acf::attention_votes<W>(partial, squeeze_weight, squeeze_bias, excite_weight, excite_bias, \
                                means, hidden, votes, n, channels, squeeze, chunks, rows, unit,    \
                                gain);                                                             \
    }

ACF_ATTENTION_VOTES(fp16, acf::Half)
ACF_ATTENTION_VOTES(fp32, float)

#define ACF_ATTEND_NCHW(NAME, T)                                                                  \
    extern "C" __global__ void __launch_bounds__(acf::kWeighThreads, 3)                           \
        acf_attend_nchw_##NAME(const T* features, const T* logits, const float* votes, T* output, \
                               long long plane, int n, int channels, int slice, float scale) {    \
        acf::attend_planes<T>(features, logits, votes, output, plane, n, channels, slice,         \
                              acf::Gate<T>(scale));                                               \
    }

#define ACF_ATTEND_NHWC(NAME, T, ALIGNED)                                                         \
    extern "C" __global__ void __launch_bounds__(acf::kWeighThreads,                              \
                                                 acf::Depth<T, ALIGNED>::blocks)                  \
        acf_attend_nhwc_##NAME(const T* features, const T* logits, const float* votes, T* output, \
                               long long pixels, int n, int channels, int features_lanes,         \
                               int logits_lanes, int output_lanes, float scale) {                 \
        acf::attend_pixels<T, ALIGNED, acf::Depth<T, ALIGNED>::packs>(                            \
            features, logits, votes, output, acf::slab_of(pixels, channels, features_lanes),      \
            acf::slab_of(pixels, 1, logits_lanes), acf::slab_of(pixels, channels, output_lanes),  \
            n, channels, acf::Gate<T>(scale));                                                    \
    }

ACF_ATTEND_NCHW(fp16, acf::Half)
ACF_ATTEND_NCHW(fp32, float)
ACF_ATTEND_NCHW(int8, acf::Int8)
ACF_ATTEND_NHWC(fp16, acf::Half, true)
ACF_ATTEND_NHWC(fp32, float, true)
ACF_ATTEND_NHWC(int8, acf::Int8, true)
ACF_ATTEND_NHWC(fp16_any, acf::Half, false)
ACF_ATTEND_NHWC(fp32_any, float, false)
ACF_ATTEND_NHWC(int8_any, acf::Int8, false)
