// Elements of tensors (FP16, FP32, INT8) and what they are as floats.
//
// Needs no header of CUDA: FP16 is converted by one PTX instruction on the device and by bits on
// the host. Both round to nearest even, keep subnormals and saturate to infinity.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define ACF_TOUCH(at, bytes, writes)  // the emulation counts accesses here
#else
#include "host/cuda.h"
#endif

namespace acf {

// FP16, as bits. A plain struct: it may stand in unions and shared memory.
struct Half {
    unsigned short bits;
};

__host__ __device__ inline float float_from_bits(unsigned int bits) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
#endif
}

__host__ __device__ inline unsigned int bits_of_float(float value) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(value);
#else
    unsigned int bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    return bits;
#endif
}

// Exact.
__host__ __device__ inline float widen(float value) { return value; }
__host__ __device__ inline float widen(Half value) {
#if defined(__CUDA_ARCH__)
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
#else
    const unsigned int sign = (value.bits & 0x8000u) << 16;
    const unsigned int rest = value.bits & 0x7fffu;
    if (rest >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
    // 2^-24 is the last place of a subnormal; a float holds the product exactly.
    if (rest < 0x400u) {
        const float small = static_cast<float>(rest) * 5.9604644775390625e-8f;
        return float_from_bits(sign | bits_of_float(small));
    }
    return float_from_bits(sign | ((rest << 13) + 0x38000000u));
#endif
}

// To nearest, ties to even.
template <class T>
__host__ __device__ T narrow(float value);

template <>
__host__ __device__ inline float narrow<float>(float value) {
    return value;
}

template <>
__host__ __device__ inline Half narrow<Half>(float value) {
    Half result;
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const unsigned int bits = bits_of_float(value);
    const unsigned int sign = (bits >> 16) & 0x8000u;
    const unsigned int rest = bits & 0x7fffffffu;
    unsigned int half;
    if (rest > 0x7f800000u) {
        half = 0x7fffu;  // NaN, as the device writes it
        result.bits = static_cast<unsigned short>(half);
        return result;
    }
    if (rest >= 0x47800000u) {
        half = 0x7c00u;  // 65536 and above
    } else if (rest < 0x38800000u) {
        // Below 2^-14 the last place is 2^-24: adding 0.5 leaves the rounded count in the bits.
        half = bits_of_float(float_from_bits(rest) + 0.5f) - 0x3f000000u;
    } else {
        half = (rest + 0xfffu + ((rest >> 13) & 1u) - 0x38000000u) >> 13;
    }
    result.bits = static_cast<unsigned short>(sign | half);
#endif
    return result;
}

}  // namespace acf
