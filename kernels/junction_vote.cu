// acf::JunctionVote: y[n, c] = sum_b x[n, bC + c] * sigmoid(e[n, bC + c]) * v[n, bC + c] with the
// channel vote v[n] = sigmoid(W mean(x[n]) + bias). The means come from channel_means.cu.

#include "acf/votes.cuh"
#include "acf/weigh.cuh"

namespace acf {

// A block computes `rows` votes of an image, and for itself the means that it needs: reading the
// parts again is cheaper than waiting for another launch.
template <class W>
__device__ void junction_votes(const float* partial, const W* weight, const W* bias, float* means,
                               float* votes, int n, int channels, int chunks, int rows, float unit,
                               float gain) {
    for (Index image = blockIdx.y; image < n; image += gridDim.y) {
        float* own = means + (image * gridDim.x + blockIdx.x) * channels;
        finish_means(partial + image * channels * chunks, own, channels, chunks, unit);
        __syncthreads();
        const int first = blockIdx.x * rows;
        const int last = channels - first < rows ? channels : first + rows;
        float* to = votes + image * channels;
        matrix_product(weight, bias, own, channels, first, last,
                       [=](int c, float logit) { to[c] = gain * sigmoid(logit); });
    }
}

}  // namespace acf

#define ACF_JUNCTION_VOTES(NAME, W)                                                              \
    extern "C" __global__ void __launch_bounds__(acf::kVotesThreads) acf_junction_votes_##NAME(  \
        const float* partial, const W* weight, const W* bias, float* means, float* votes, int n, \
        int channels, int chunks, int rows, float unit, float gain) {                            \
        acf::junction_votes<W>(partial, weight, bias, means, votes, n, channels, chunks, rows,   \
                               unit, gain);                                                      \
    }

ACF_JUNCTION_VOTES(fp16, acf::Half)
ACF_JUNCTION_VOTES(fp32, float)

#define ACF_WEIGH_NCHW(NAME, T, ALIGNED)                                                           \
    extern "C" __global__ void __launch_bounds__(acf::kWeighThreads, 4) acf_weigh_nchw_##NAME(     \
        const T* features, const T* logits, const float* votes, T* output, long long plane, int n, \
        int width, int branches, int maps, float scale) {                                          \
        acf::weigh_planes<T, ALIGNED, acf::Depth<T, ALIGNED>::packs>(                              \
            features, logits, votes, output, plane, n, width, branches, maps,                      \
            acf::Gate<T>(scale));                                                                  \
    }

#define ACF_WEIGH_NHWC(NAME, T, ALIGNED)                                                         \
    extern "C" __global__ void __launch_bounds__(acf::kWeighThreads,                             \
                                                 acf::Depth<T, ALIGNED>::blocks)                 \
        acf_weigh_nhwc_##NAME(const T* features, const T* logits, const float* votes, T* output, \
                              long long pixels, int n, int width, int branches, int lanes,       \
                              int output_lanes, float scale) {                                   \
        const int channels = width * branches;                                                   \
        acf::weigh_pixels<T, ALIGNED, acf::Depth<T, ALIGNED>::packs>(                            \
            features, logits, votes, output, acf::slab_of(pixels, channels, lanes),              \
            acf::slab_of(pixels, width, output_lanes), n, width, branches, acf::Gate<T>(scale)); \
    }

ACF_WEIGH_NCHW(fp16, acf::Half, true)
ACF_WEIGH_NCHW(fp32, float, true)
ACF_WEIGH_NCHW(int8, acf::Int8, true)
ACF_WEIGH_NCHW(fp16_any, acf::Half, false)
ACF_WEIGH_NCHW(fp32_any, float, false)
ACF_WEIGH_NCHW(int8_any, acf::Int8, false)
ACF_WEIGH_NHWC(fp16, acf::Half, true)
ACF_WEIGH_NHWC(fp32, float, true)
ACF_WEIGH_NHWC(int8, acf::Int8, true)
ACF_WEIGH_NHWC(fp16_any, acf::Half, false)
ACF_WEIGH_NHWC(fp32_any, float, false)
ACF_WEIGH_NHWC(int8_any, acf::Int8, false)
