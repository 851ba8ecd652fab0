// What a thread of the border kernels works on: 8 columns of two rows, and how bytes get there.
#pragma once

#include "acf/pack.cuh"

namespace acf {
namespace border {

constexpr int kLanes = 32;
constexpr int kBands = 4;  // warps of a block, and pairs of rows
constexpr int kColumns = 8;
constexpr int kSpan = kLanes * kColumns;
constexpr int kRowBytes = 3 * kSpan + 16;  // 16: as far as a row can lie off a pack's border

struct alignas(8) Pack8 {
    unsigned char byte[8];
};

// 8 columns of two rows, R G B in code values (0..255, not clipped).
struct Tile {
    float value[3][2][kColumns];
};

// Where a chroma sample lies among its two columns and its two rows, as weights.
// Read: ``before`` is that of the sample before, at the first of the two; ``after`` that of the one
// after, at the second. Written: ``before`` is that of the column (row) before the two, ``after``
// that of the second; the first has a half.
struct Chroma {
    float across_before, across_after, down_before, down_after;
};

struct FromYuv {
    float luma, lift, red_v, green_u, green_v, blue_u;
};

struct ToYuv {
    float red, green, blue, luma, lift, u, v;
};

__host__ __device__ inline int least(int a, int b) { return a < b ? a : b; }
__host__ __device__ inline int most(int a, int b) { return a > b ? a : b; }

__host__ __device__ inline float clipped(float code) { return fminf(fmaxf(code, 0.0f), 255.0f); }

// Conversions between bytes and floats run at an eighth of the speed of additions, and there are
// more of them than of anything else. At 2^23 a float's last bit counts one, so adding does both.
__host__ __device__ inline float number_of(unsigned char byte) {
    return float_from_bits(0x4B000000u | byte) - 8388608.0f;
}

__host__ __device__ inline unsigned char byte_of(float code) {
    return static_cast<unsigned char>(bits_of_float(clipped(code) + 8388608.0f) & 255u);
}

__host__ __device__ inline float between(float here, float there, float weight) {
    return here + weight * (there - here);
}

__host__ __device__ inline void rgb_of(const FromYuv& m, float y, float u, float v, float* r,
                                       float* g, float* b) {
    float grey = m.luma * y + m.lift;
    u -= 128.0f;
    v -= 128.0f;
    *r = grey + m.red_v * v;
    *g = grey + m.green_u * u + m.green_v * v;
    *b = grey + m.blue_u * u;
}

__host__ __device__ inline bool on_border(const void* pointer, int bytes) {
    return (reinterpret_cast<unsigned long long>(pointer) & (bytes - 1)) == 0;
}

__device__ inline unsigned char byte_at(const unsigned char* at) {
    ACF_TOUCH(at, 1, false);
    return *at;
}

__device__ inline void put_byte(unsigned char* at, unsigned char byte) {
    ACF_TOUCH(at, 1, true);
    *at = byte;
}

// `at` lies on 8 bytes.
__device__ inline Pack8 load_8(const unsigned char* at) {
    ACF_TOUCH(at, 8, false);
    return *reinterpret_cast<const Pack8*>(at);
}

struct alignas(2) Pair2 {
    unsigned char byte[2];
};

// `at` lies on 2 bytes.
__device__ inline Pair2 load_2(const unsigned char* at) {
    ACF_TOUCH(at, 2, false);
    return *reinterpret_cast<const Pair2*>(at);
}

__device__ inline void store_8(unsigned char* at, const Pack8& eight) {
    ACF_TOUCH(at, 8, true);
    *reinterpret_cast<Pack8*>(at) = eight;
}

struct Place {
    int row, column;  // of the tile's first pixel
    int lane, band;
};

__device__ inline Place place_of_thread() {
    Place p;
    p.lane = threadIdx.x;
    p.band = threadIdx.y;
    p.row = 2 * (blockIdx.y * kBands + p.band);
    p.column = blockIdx.x * kSpan + kColumns * p.lane;
    return p;
}

// Two rows of a picture for every band, in shared memory: [kBands][2][kRowBytes].
struct Rows {
    unsigned char* bytes;

    __device__ unsigned char* of(int band, int row) const {
        return bytes + (2 * band + row) * kRowBytes;
    }
};

// A warp copies bytes of a row, as whole packs wherever there are some. Those in device memory
// begin anywhere; those in shared memory begin as far behind ``pack`` as these lie off a border.
// In two steps, so that several rows' loads are on their way before one is waited for.
struct RowFetch {
    static constexpr int kRounds = (kRowBytes + 16 * kLanes - 1) / (16 * kLanes);
    const unsigned char* row;
    int skew, end;
    Pack packs[kRounds];

    __device__ bool whole(int at) const { return at >= skew && at + 16 <= end; }

    // ``count`` bytes, 3 * kSpan at most.
    __device__ void begin(const unsigned char* from, int count, int lane) {
        skew = bytes_off(from);
        end = skew + count;
        row = from - skew;
#pragma unroll
        for (int k = 0; k < kRounds; ++k) {
            const int at = 16 * (lane + k * kLanes);
            if (whole(at)) packs[k] = load(row + at);
        }
    }

    __device__ void finish(unsigned char* pack, int lane) const {
#pragma unroll
        for (int k = 0; k < kRounds; ++k) {
            const int at = 16 * (lane + k * kLanes);
            if (whole(at)) {
                *reinterpret_cast<Pack*>(pack + at) = packs[k];
            } else {
                for (int i = most(at, skew); i < least(at + 16, end); ++i)
                    pack[i] = byte_at(row + i);
            }
        }
    }
};

__device__ inline void put_row(unsigned char* row, const unsigned char* pack, int count, int lane) {
    const int skew = bytes_off(row), end = skew + count;
    row -= skew;
    for (int at = 16 * lane; at < end; at += 16 * kLanes) {
        if (at >= skew && at + 16 <= end) {
            store(row + at, *reinterpret_cast<const Pack*>(pack + at));
        } else {
            for (int i = most(at, skew); i < least(at + 16, end); ++i) put_byte(row + i, pack[i]);
        }
    }
}

// 8 pixels of a staged row.
struct Pixels {
    union {
        Pack8 pack[3];
        unsigned char byte[3 * kColumns];
    };

    __device__ void load(const unsigned char* from) {
        if (on_border(from, 8)) {
            for (int i = 0; i < 3; ++i) pack[i] = reinterpret_cast<const Pack8*>(from)[i];
        } else {
#pragma unroll
            for (int i = 0; i < 3 * kColumns; ++i) byte[i] = from[i];
        }
    }

    __device__ void store(unsigned char* to) const {
        if (on_border(to, 8)) {
            for (int i = 0; i < 3; ++i) reinterpret_cast<Pack8*>(to)[i] = pack[i];
        } else {
#pragma unroll
            for (int i = 0; i < 3 * kColumns; ++i) to[i] = byte[i];
        }
    }
};

// 8 elements of a plane's row; `at` lies on 16 bytes.
template <class T>
__device__ inline void store_8(T* at, const float (&value)[kColumns]) {
    constexpr int lanes = Lanes<T>::count;
#pragma unroll
    for (int k = 0; k < kColumns; k += lanes) {
        float part[lanes];
#pragma unroll
        for (int i = 0; i < lanes; ++i) part[i] = value[k + i];
        acf::store(at + k, packed<T>(part));
    }
}

template <class T>
__device__ inline float element_at(const T* at) {
    ACF_TOUCH(at, sizeof(T), false);
    return widen(*at);
}

template <class T>
__device__ inline void put_element(T* at, float value) {
    ACF_TOUCH(at, sizeof(T), true);
    *at = narrow<T>(value);
}

}  // namespace border
}  // namespace acf
