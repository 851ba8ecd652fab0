// The first step of both operators: sums of every channel over parts of the picture.
//
//   partial[(n * channels + channel) * chunks + chunk] = sum of the elements, not yet scaled
//
// The votes' kernels add the parts up. In NCHW a block sums a run of one channel; where channels
// come last, a block sums a run of pixels, its threads side by side over the channels.

#include "acf/place.cuh"
#include "acf/reduce.cuh"

namespace acf {

constexpr int kMeansThreads = 256;

// Planes in the order in which the last step wants them in the cache: the branches of a channel
// one after the other.
template <class T>
__device__ void means_of_planes(const T* features, float* partial, Index plane, int width,
                                int branches, int n, Index chunk, float* scratch) {
    constexpr int V = Lanes<T>::count, U = 4;
    const int channels = width * branches;
    const Index first = blockIdx.x * chunk;
    const Index count = plane - first < chunk ? plane - first : chunk;
    const int threads = blockDim.x;
    for (int q = blockIdx.y; q < n * channels; q += gridDim.y) {
        const int image = q / channels, r = q - image * channels, c = r / branches;
        const Index row = image * channels + (r - c * branches) * width + c;
        const T* at = features + row * plane + first;
        // Up to a pack's border, whole packs, and what is left.
        const Index ahead = (16 - bytes_off(at)) % 16 / static_cast<int>(sizeof(T));
        const Index head = ahead < count ? ahead : count;
        const Index packs = (count - head) / V, tail = head + packs * V;
        const T* body = at + head;
        Total<T> total;
        if (threadIdx.x < head) total.add(at[threadIdx.x]);
        if (threadIdx.x < count - tail) total.add(at[tail + threadIdx.x]);
        Index g = threadIdx.x;
        for (; g + (U - 1) * threads < packs; g += U * threads) {
            Pack four[U];
#pragma unroll
            for (int u = 0; u < U; ++u) four[u] = load(body + (g + u * threads) * V);
#pragma unroll
            for (int u = 0; u < U; ++u) total.add(four[u]);
        }
        for (; g < packs; g += threads) total.add(load(body + g * V));
        const float sum = block_sum(total.value(), scratch);
        if (threadIdx.x == 0) partial[row * gridDim.x + blockIdx.x] = sum;
    }
}

// Block: (packs of a slice, pixels). The slice is blockIdx.y, the run of pixels blockIdx.x.
template <class T, bool kAligned>
__device__ void means_of_pixels(const T* features, float* partial, Slab slab, int channels, int n,
                                Index chunk, float* scratch) {
    constexpr int V = Lanes<T>::count, U = kAligned ? 4 : 1;
    const int rows = blockDim.y;
    const int channel = (blockIdx.y * blockDim.x + threadIdx.x) * V;
    const int valid = lanes_of<V>(channel, channels);
    const Index first = blockIdx.x * chunk;
    const Index stop = (slab.pixels - first < chunk ? slab.pixels : first + chunk) * slab.lanes;
    // [channel of the pack][thread]: the threads of a warp meet no bank of shared memory twice.
    constexpr int kNext = kMeansThreads;
    const int across = blockDim.x;
    float* own = scratch + threadIdx.y * across + threadIdx.x;
    for (int image = blockIdx.z; image < n; image += gridDim.z) {
        Tally<T> tally;
        if (valid > 0) {
            const Spot<T> spot(features, slab, image, channel, valid);
            const T* end = features + n * slab.image;
            const Index step = static_cast<Index>(rows) * slab.lanes;
            Index at = (first + threadIdx.y) * slab.lanes;
            for (; at + (U - 1) * step < stop; at += U * step) {
                Pack pack[U];
                Index offset[U];
#pragma unroll
                for (int u = 0; u < U; ++u) offset[u] = at + u * step;
                fetch<T, kAligned, false, U>(spot, features, end, offset, pack);
#pragma unroll
                for (int u = 0; u < U; ++u) tally.add(pack[u]);
            }
            for (; at < stop; at += step) {
                Pack pack[1];
                const Index offset[1] = {at};
                fetch<T, kAligned, false, 1>(spot, features, end, offset, pack);
                tally.add(pack[0]);
            }
        }
#pragma unroll
        for (int i = 0; i < V; ++i) own[i * kNext] = tally.of(i);
        // Rows fold onto rows; the number of rows need not be a power of two.
        for (int left = rows; left > 1;) {
            const int half = (left + 1) / 2;
            __syncthreads();
            if (static_cast<int>(threadIdx.y) + half < left) {
#pragma unroll
                for (int i = 0; i < V; ++i) own[i * kNext] += own[i * kNext + half * across];
            }
            left = half;
        }
        if (threadIdx.y == 0) {
            const Index row = static_cast<Index>(image) * channels + channel;
#pragma unroll
            for (int i = 0; i < V; ++i)
                if (i < valid) partial[(row + i) * gridDim.x + blockIdx.x] = own[i * kNext];
        }
        __syncthreads();  // before the next image overwrites what is being read
    }
}

}  // namespace acf

#define ACF_MEANS_NCHW(NAME, T)                                                                    \
    extern "C" __global__ void __launch_bounds__(acf::kMeansThreads, 4)                            \
        acf_means_nchw_##NAME(const T* features, float* partial, long long plane, long long chunk, \
                              int n, int width, int branches) {                                    \
        __shared__ float scratch[acf::kMeansThreads / 32];                                         \
        acf::means_of_planes<T>(features, partial, plane, width, branches, n, chunk, scratch);     \
    }

#define ACF_MEANS_NHWC(NAME, T, ALIGNED)                                                           \
    extern "C" __global__ void __launch_bounds__(acf::kMeansThreads, ALIGNED ? 4 : 2)              \
        acf_means_nhwc_##NAME(const T* features, float* partial, long long pixels,                 \
                              long long chunk, int n, int channels, int lanes) {                   \
        __shared__ float scratch[acf::kMeansThreads * acf::Lanes<T>::count];                       \
        acf::means_of_pixels<T, ALIGNED>(features, partial, acf::slab_of(pixels, channels, lanes), \
                                         channels, n, chunk, scratch);                             \
    }

ACF_MEANS_NCHW(fp16, acf::Half)
ACF_MEANS_NCHW(fp32, float)
ACF_MEANS_NCHW(int8, acf::Int8)
ACF_MEANS_NHWC(fp16, acf::Half, true)
ACF_MEANS_NHWC(fp32, float, true)
ACF_MEANS_NHWC(int8, acf::Int8, true)
ACF_MEANS_NHWC(fp16_any, acf::Half, false)
ACF_MEANS_NHWC(fp32_any, float, false)
ACF_MEANS_NHWC(int8_any, acf::Int8, false)
