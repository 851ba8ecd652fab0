// What CUDA C++ has beyond C++, for an ordinary compiler: the kernels run on the host, whole.
//
// Every thread of a block is a fiber with a stack of its own. It runs until it meets a barrier or a
// shuffle (or its end), then the next one does; in which order is the caller's choice, so that a
// barrier that is missing shows as a wrong result. Arithmetic is the host's: the approximate
// instructions of a GPU are exact here. Not for nvcc, NVRTC or production.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

#define __host__
#define __device__
// Says which functions are kernels to whoever reads the preprocessed source.
#define __global__ __attribute__((used))
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static const
// One object for all threads, as blocks run one after the other. The section lets a launch fill
// it with rubbish before each block (the compiler leaves those of templates elsewhere).
#define __shared__ static __attribute__((section("acf_shared")))
// extern __shared__ has no storage to declare: take a pointer instead.
#define ACF_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(acf::host::dynamic_shared())
#define ACF_TOUCH(at, bytes, writes) acf::host::touch(at, bytes, writes)

struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
struct uint2 {
    unsigned int x, y;
};
struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace acf {
namespace host {

void* dynamic_shared();
void touch(const void* at, int bytes, bool writes);
void barrier();
// Lets every lane of `mask` post a word, then returns that of lane `source`.
unsigned int exchange(unsigned int mask, unsigned int word, int source);
unsigned int ballot(unsigned int mask, bool vote);
[[noreturn]] void fail(const char* what);

// A kernel by its name: sizes of its parameters, and a call with their addresses.
struct Kernel {
    const char* name;
    void (*call)(void** arguments);
    int count;
    const int* sizes;
};
extern const Kernel kernels[];
extern const int kernel_count;

template <class F, F* function>
struct Caller;

template <class... P, void (*function)(P...)>
struct Caller<void(P...), function> {
    static constexpr int count = sizeof...(P);
    static constexpr int sizes[sizeof...(P) + 1] = {static_cast<int>(sizeof(P))..., 0};

    template <std::size_t... I>
    static void call(void** arguments, std::index_sequence<I...>) {
        function(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
    }
    static void call(void** arguments) { call(arguments, std::index_sequence_for<P...>()); }
};

#define ACF_HOST_KERNEL(name)                                \
    {#name, &acf::host::Caller<decltype(name), &name>::call, \
     acf::host::Caller<decltype(name), &name>::count,        \
     acf::host::Caller<decltype(name), &name>::sizes}

template <class T>
inline T shuffled(unsigned int mask, T value, int source) {
    static_assert(sizeof(T) % 4 == 0, "shuffles move words");
    unsigned int words[sizeof(T) / 4];
    std::memcpy(words, &value, sizeof(T));
    for (auto& word : words) word = exchange(mask, word, source);
    std::memcpy(&value, words, sizeof(T));
    return value;
}

inline int lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}

// The lane that a shuffle reads, within groups of `width`; beyond them, its own.
inline int within(int source, int width) {
    const int own = lane(), first = own / width * width;
    return source < first || source >= first + width ? own : source;
}

}  // namespace host
}  // namespace acf

inline void __syncthreads() { acf::host::barrier(); }
inline void __syncwarp(unsigned int mask = 0xffffffffu) { acf::host::exchange(mask, 0, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
inline T __shfl_sync(unsigned int mask, T value, int source, int width = 32) {
    const int first = acf::host::lane() / width * width;
    return acf::host::shuffled(mask, value, first + source % width);
}
template <class T>
inline T __shfl_xor_sync(unsigned int mask, T value, int bits, int width = 32) {
    return acf::host::shuffled(mask, value, acf::host::within(acf::host::lane() ^ bits, width));
}
template <class T>
inline T __shfl_down_sync(unsigned int mask, T value, int step, int width = 32) {
    return acf::host::shuffled(mask, value, acf::host::within(acf::host::lane() + step, width));
}
template <class T>
inline T __shfl_up_sync(unsigned int mask, T value, int step, int width = 32) {
    return acf::host::shuffled(mask, value, acf::host::within(acf::host::lane() - step, width));
}
inline unsigned int __ballot_sync(unsigned int mask, bool vote) {
    return acf::host::ballot(mask, vote);
}
inline bool __any_sync(unsigned int mask, bool vote) { return acf::host::ballot(mask, vote) != 0; }
inline bool __all_sync(unsigned int mask, bool vote) {
    return acf::host::ballot(mask, vote) == mask;
}

// One thread runs at a time, so these are atomic as they stand.
template <class T>
inline T atomicAdd(T* at, T value) {
    const T before = *at;
    *at = before + value;
    return before;
}
inline unsigned int atomicInc(unsigned int* at, unsigned int last) {
    const unsigned int before = *at;
    *at = before >= last ? 0 : before + 1;
    return before;
}

template <class T>
inline T __ldg(const T* at) {
    return *at;
}
template <class T>
inline T __ldcs(const T* at) {
    return *at;
}
template <class T>
inline void __stcs(T* at, T value) {
    *at = value;
}

inline float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, unsigned int bits) {
    return static_cast<unsigned int>(((static_cast<uint64_t>(high) << 32) | low) >> (bits & 31));
}
inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selector) {
    const uint64_t bytes = (static_cast<uint64_t>(b) << 32) | a;
    unsigned int result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned int nibble = (selector >> (4 * i)) & 15;
        unsigned int byte = static_cast<unsigned int>(bytes >> (8 * (nibble & 7))) & 255;
        if (nibble & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}
inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; ++i)
        sum += static_cast<signed char>(a >> (8 * i)) * static_cast<signed char>(b >> (8 * i));
    return sum;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
