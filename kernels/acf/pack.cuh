// 16 bytes at once: loads, stores, and the elements in them.
#pragma once

#include "acf/element.cuh"

namespace acf {

typedef long long Index;  // counts elements: 32 bits end at 2 GiB of INT8

struct alignas(16) Pack {
    unsigned int word[4];
};

template <class T>
struct Lanes {
    static constexpr int count = 16 / static_cast<int>(sizeof(T));
};

// INT8, as TensorRT quantizes: value = scale * element, symmetric.
typedef signed char Int8;

// Adding 2^23 puts an integer of 0..255 into a float's last bits. The conversion instructions do
// the same at a quarter of the speed or less.
__host__ __device__ inline float widen(Int8 value) {
    return float_from_bits(0x4b000000u | ((static_cast<unsigned int>(value) & 255u) ^ 128u)) -
           8388736.0f;
}

// To nearest even, clamped to what INT8 holds; a NaN becomes -128.
template <>
__host__ __device__ inline Int8 narrow<Int8>(float value) {
    const float clamped = fminf(fmaxf(value, -128.0f), 127.0f);
    return static_cast<Int8>(bits_of_float(clamped + 12582912.0f) & 255u);
}

// ------------------------------------------------------------------------------ memory accesses

// Loads are written as volatile instructions: the compiler leaves them in their order, ahead of
// the arithmetic, where it would otherwise move them next to their use and wait for each.
// `at` lies on 16 bytes, in global memory, and nobody writes there while the kernel runs.
__device__ inline Pack load(const void* at) {
    Pack pack;
#if defined(__CUDA_ARCH__)
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pack.word[0]), "=r"(pack.word[1]), "=r"(pack.word[2]), "=r"(pack.word[3])
                 : "l"(at));
#else
    ACF_TOUCH(at, 16, false);
    pack = *static_cast<const Pack*>(at);
#endif
    return pack;
}

// What nobody reads again: first to leave the caches.
__device__ inline Pack load_last(const void* at) {
#if defined(__CUDA_ARCH__)
    Pack pack;
    asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pack.word[0]), "=r"(pack.word[1]), "=r"(pack.word[2]), "=r"(pack.word[3])
                 : "l"(at));
    return pack;
#else
    return load(at);
#endif
}

__device__ inline void store(void* at, const Pack& pack) {
#if defined(__CUDA_ARCH__)
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(at), "r"(pack.word[0]),
                 "r"(pack.word[1]), "r"(pack.word[2]), "r"(pack.word[3])
                 : "memory");
#else
    ACF_TOUCH(at, 16, true);
    *static_cast<Pack*>(at) = pack;
#endif
}

__host__ __device__ inline int bytes_off(const void* at) {
    return static_cast<int>(reinterpret_cast<unsigned long long>(at) & 15);
}

// Two neighbouring packs of which one begins `bytes` (0..15) into the first.
struct Pair {
    Pack first, second;
};

// Reads the one or two packs that 16 bytes from `at` on lie in.
__device__ inline Pair load_pair(const void* at) {
    const int off = bytes_off(at);
    const char* first = static_cast<const char*>(at) - off;
    Pair pair;
    pair.first = load(first);
    pair.second = load(first + (off ? 16 : 0));
    return pair;
}

// Word by word without an index that is computed: such an array would lie in memory.
__device__ inline Pack shifted(const Pair& pair, int bytes) {
    const unsigned int *a = pair.first.word, *b = pair.second.word;
    const bool two = bytes & 8, one = bytes & 4;
    const unsigned int w0 = two ? a[2] : a[0], w1 = two ? a[3] : a[1], w2 = two ? b[0] : a[2],
                       w3 = two ? b[1] : a[3], w4 = two ? b[2] : b[0], w5 = two ? b[3] : b[1];
    const unsigned int v0 = one ? w1 : w0, v1 = one ? w2 : w1, v2 = one ? w3 : w2,
                       v3 = one ? w4 : w3, v4 = one ? w5 : w4;
    const int bits = 8 * (bytes & 3);
    return Pack{{__funnelshift_r(v0, v1, bits), __funnelshift_r(v1, v2, bits),
                 __funnelshift_r(v2, v3, bits), __funnelshift_r(v3, v4, bits)}};
}

// Do the packs that 16 bytes from `at` on lie in belong to the tensor as a whole?
__device__ inline bool inside(const void* at, const void* begin, const void* end) {
    const int off = bytes_off(at);
    const char* first = static_cast<const char*>(at) - off;
    return first >= static_cast<const char*>(begin) &&
           first + (off ? 32 : 16) <= static_cast<const char*>(end);
}

// ----------------------------------------------------------------------------- elements of packs

__device__ inline void unpack(const Pack& pack, float (&value)[4], float) {
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = float_from_bits(pack.word[i]);
}

__device__ inline void unpack(const Pack& pack, float (&value)[8], Half) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        value[2 * i] = widen(Half{static_cast<unsigned short>(pack.word[i])});
        value[2 * i + 1] = widen(Half{static_cast<unsigned short>(pack.word[i] >> 16)});
    }
}

__device__ inline void unpack(const Pack& pack, float (&value)[16], Int8) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const unsigned int biased = pack.word[i] ^ 0x80808080u;
#pragma unroll
        for (int k = 0; k < 4; ++k)
            value[4 * i + k] =
                float_from_bits(__byte_perm(biased, 0x4b000000u, 0x7540u + k)) - 8388736.0f;
    }
}

template <class T>
__device__ inline void unpack(const Pack& pack, float (&value)[Lanes<T>::count]) {
    unpack(pack, value, T());
}

__device__ inline Pack packed(const float (&value)[4], float) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < 4; ++i) pack.word[i] = bits_of_float(value[i]);
    return pack;
}

__device__ inline Pack packed(const float (&value)[8], Half) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        asm("cvt.rn.f16x2.f32 %0, %1, %2;"
            : "=r"(pack.word[i])
            : "f"(value[2 * i + 1]), "f"(value[2 * i]));
#else
        pack.word[i] = narrow<Half>(value[2 * i]).bits |
                       static_cast<unsigned int>(narrow<Half>(value[2 * i + 1]).bits) << 16;
#endif
    }
    return pack;
}

__device__ inline Pack packed(const float (&value)[16], Int8) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        unsigned int word = 0;
#pragma unroll
        for (int k = 0; k < 4; ++k)
            word |= (static_cast<unsigned int>(narrow<Int8>(value[4 * i + k])) & 255u) << (8 * k);
        pack.word[i] = word;
    }
    return pack;
}

template <class T>
__device__ inline Pack packed(const float (&value)[Lanes<T>::count]) {
    return packed(value, T());
}

__host__ __device__ inline unsigned int bits_of(float element) { return bits_of_float(element); }
__host__ __device__ inline unsigned int bits_of(Half element) { return element.bits; }
__host__ __device__ inline unsigned int bits_of(Int8 element) {
    return static_cast<unsigned char>(element);
}

// One element of a pack of zeros, by its number, which is known when the code is compiled.
template <class T>
__device__ inline void insert(Pack& pack, int lane, T element) {
    constexpr int size = static_cast<int>(sizeof(T)), per_word = 4 / size;
    pack.word[lane / per_word] |= bits_of(element) << (8 * size * (lane % per_word));
}

}  // namespace acf
