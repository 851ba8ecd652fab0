// The sigmoid, as exactly as the type that it is for can tell.
#pragma once

#include "acf/pack.cuh"

namespace acf {

__device__ inline float power_of_two(float x) {
#if defined(__CUDA_ARCH__)
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

__device__ inline float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.0f / x;
#endif
}

__device__ inline float tangent(float x) {
#if defined(__CUDA_ARCH__)
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return tanhf(x);
#endif
}

// 1 / (1 + exp(-x)), a few units in the last place. Below -88 it is 0, as 1 / inf.
__device__ inline float sigmoid(float x) {
    constexpr float kHigh = -1.44269502162933349609375f;  // -1 / ln 2, as a float and what it lacks
    constexpr float kLow = -1.92596299112661746887e-8f;
    const float power = x * kHigh;
    // The product's rounding would be a relative error of the result: it is made good again.
    const float rest = fmaf(x, kLow, fmaf(x, kHigh, -power));
    const float e = power_of_two(power);
    const float exact = fmaf(e, rest * 0.693147182464599609375f, e);
    // Out there the rest may be infinity less infinity, and the plain power will do.
    return reciprocal(1.0f + (fabsf(x) < 87.0f ? exact : e));
}

// A gate turns a logit (an element as a float) into a vote of 0..1.
template <class T>
struct Gate;

template <>
struct Gate<float> {
    __device__ explicit Gate(float) {}
    __device__ float operator()(float logit) const { return sigmoid(logit); }
};

// Its error, 1e-6, is lost in FP16.
template <>
struct Gate<Half> {
    __device__ explicit Gate(float) {}
    __device__ float operator()(float logit) const {
        return reciprocal(1.0f + power_of_two(logit * -1.44269502162933349609375f));
    }
};

// One instruction of the slow unit instead of two: twice as many elements come per second. Its
// error, 2^-12, is a thirtieth of an INT8 step.
template <>
struct Gate<Int8> {
    float half_scale;
    __device__ explicit Gate(float scale) : half_scale(0.5f * scale) {}
    __device__ float operator()(float logit) const {
        return fmaf(0.5f, tangent(logit * half_scale), 0.5f);
    }
};

}  // namespace acf
