// Where the border kernels read: NV12, a picture, three planes. ``load`` fills a tile; pixels
// beyond the picture repeat its last column and its last row.
#pragma once

#include "acf/border_tile.cuh"

namespace acf {
namespace border {

struct Nv12Source {
    const unsigned char *luma, *chroma;
    int luma_pitch, chroma_pitch;
    Chroma siting;
    FromYuv matrix;

    __device__ Nv12Source(const unsigned char* y, const unsigned char* uv, int y_pitch,
                          int uv_pitch, const Chroma& where, const FromYuv& m)
        : luma(y),
          chroma(uv),
          luma_pitch(y_pitch),
          chroma_pitch(uv_pitch),
          siting(where),
          matrix(m) {}

    __device__ void load(const Place& p, int height, int width, Tile& tile) const {
        if (p.row >= height || p.column >= width) return;
        const int chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
        const int pair = p.column / 2, line = p.row / 2;
        const unsigned char *grey_at[2], *pairs_at[3];  // rows; lines above, here, below
#pragma unroll
        for (int r = 0; r < 2; ++r)
            grey_at[r] = luma + static_cast<long long>(luma_pitch) * least(p.row + r, height - 1);
#pragma unroll
        for (int k = 0; k < 3; ++k)
            pairs_at[k] = chroma + static_cast<long long>(chroma_pitch) *
                                       least(most(line + k - 1, 0), chroma_height - 1);
        Pack8 grey[2], four[3];
        Pair2 before[3], after[3];
        // One branch for all, so that all loads are on their way before one is waited for.
        if (p.column + kColumns <= width && on_border(luma, 8) && on_border(chroma, 8) &&
            (luma_pitch | chroma_pitch) % 8 == 0) {
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                four[k] = load_8(pairs_at[k] + 2 * pair);
                before[k] = load_2(pairs_at[k] + 2 * most(pair - 1, 0));
                after[k] = load_2(pairs_at[k] + 2 * least(pair + 4, chroma_width - 1));
            }
#pragma unroll
            for (int r = 0; r < 2; ++r) grey[r] = load_8(grey_at[r] + p.column);
        } else {
#pragma unroll
            for (int k = 0; k < 3; ++k) {
#pragma unroll
                for (int i = 0; i < 8; ++i)
                    four[k].byte[i] =
                        byte_at(pairs_at[k] + 2 * least(pair + i / 2, chroma_width - 1) + i % 2);
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    before[k].byte[i] = byte_at(pairs_at[k] + 2 * most(pair - 1, 0) + i);
                    after[k].byte[i] =
                        byte_at(pairs_at[k] + 2 * least(pair + 4, chroma_width - 1) + i);
                }
            }
#pragma unroll
            for (int r = 0; r < 2; ++r) {
#pragma unroll
                for (int i = 0; i < kColumns; ++i)
                    grey[r].byte[i] = byte_at(grey_at[r] + least(p.column + i, width - 1));
            }
        }
        float u[2][6], v[2][6];  // pairs -1..4, as they are at the tile's two rows
        {
            float above_u[6], above_v[6], below_u[6], below_v[6];
            pairs(before[0], four[0], after[0], above_u, above_v);
            pairs(before[1], four[1], after[1], u[0], v[0]);
            pairs(before[2], four[2], after[2], below_u, below_v);
#pragma unroll
            for (int i = 0; i < 6; ++i) {
                u[1][i] = between(u[0][i], below_u[i], siting.down_after);
                v[1][i] = between(v[0][i], below_v[i], siting.down_after);
                u[0][i] = between(u[0][i], above_u[i], siting.down_before);
                v[0][i] = between(v[0][i], above_v[i], siting.down_before);
            }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
#pragma unroll
            for (int i = 0; i < kColumns; ++i) {
                const int k = i / 2 + 1;
                const int other = i % 2 ? k + 1 : k - 1;
                const float weight = i % 2 ? siting.across_after : siting.across_before;
                rgb_of(matrix, number_of(grey[r].byte[i]), between(u[r][k], u[r][other], weight),
                       between(v[r][k], v[r][other], weight), &tile.value[0][r][i],
                       &tile.value[1][r][i], &tile.value[2][r][i]);
            }
        }
    }

    // Cb and Cr of six pairs as numbers.
    __device__ static void pairs(const Pair2& before, const Pack8& four, const Pair2& after,
                                 float* u, float* v) {
        u[0] = number_of(before.byte[0]);
        v[0] = number_of(before.byte[1]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            u[i + 1] = number_of(four.byte[2 * i]);
            v[i + 1] = number_of(four.byte[2 * i + 1]);
        }
        u[5] = number_of(after.byte[0]);
        v[5] = number_of(after.byte[1]);
    }
};

struct PictureSource {
    const unsigned char* picture;
    int pitch;
    Rows rows;

    __device__ PictureSource(const unsigned char* first, int bytes, const Rows& staging)
        : picture(first), pitch(bytes), rows(staging) {}

    __device__ const unsigned char* row_at(int row) const {
        return picture + static_cast<long long>(pitch) * row;
    }

    __device__ void load(const Place& p, int height, int width, Tile& tile) const {
        const int start = p.column - kColumns * p.lane;
        if (p.row < height) {
            RowFetch fetch[2];
#pragma unroll
            for (int r = 0; r < 2; ++r)
                fetch[r].begin(row_at(least(p.row + r, height - 1)) + 3 * start,
                               3 * least(kSpan, width - start), p.lane);
#pragma unroll
            for (int r = 0; r < 2; ++r) fetch[r].finish(rows.of(p.band, r), p.lane);
        }
        __syncthreads();
        if (p.row >= height || p.column >= width) return;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int skew = bytes_off(row_at(least(p.row + r, height - 1)) + 3 * start);
            Pixels part;
            part.load(rows.of(p.band, r) + skew + 3 * kColumns * p.lane);
#pragma unroll
            for (int c = 0; c < 3; ++c) {
#pragma unroll
                for (int i = 0; i < kColumns; ++i) {
                    const bool inside = i == 0 || p.column + i < width;
                    tile.value[c][r][i] =
                        inside ? number_of(part.byte[3 * i + c]) : tile.value[c][r][most(i - 1, 0)];
                }
            }
        }
    }

    __device__ void at(int row, int column, float* rgb) const {
        const unsigned char* pixel = row_at(row) + 3 * column;
        for (int c = 0; c < 3; ++c) rgb[c] = number_of(byte_at(pixel + c));
    }
};

template <class T>
struct PlanarSource {
    const unsigned char* planes;
    int pitch;
    long long plane_step;
    float gain, lift;  // code = gain * element + lift

    __device__ PlanarSource(const unsigned char* first, long long step, int bytes, float factor,
                            float offset)
        : planes(first), pitch(bytes), plane_step(step), gain(factor), lift(offset) {}

    __device__ const T* row_at(int channel, int row) const {
        return reinterpret_cast<const T*>(planes + channel * plane_step +
                                          static_cast<long long>(pitch) * row);
    }

    __device__ float code_of(float element) const { return clipped(gain * element + lift); }

    __device__ void load(const Place& p, int height, int width, Tile& tile) const {
        if (p.row >= height || p.column >= width) return;
        // One branch for all, so that all loads are on their way before one is waited for.
        if (p.column + kColumns <= width && on_border(planes, 16) &&
            (plane_step | pitch) % 16 == 0) {
            constexpr int packs = kColumns / Lanes<T>::count;
            Pack raw[3][2][packs];
#pragma unroll
            for (int c = 0; c < 3; ++c) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    const T* row = row_at(c, least(p.row + r, height - 1)) + p.column;
#pragma unroll
                    for (int k = 0; k < packs; ++k)
                        raw[c][r][k] = acf::load(row + k * Lanes<T>::count);
                }
            }
#pragma unroll
            for (int c = 0; c < 3; ++c) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
#pragma unroll
                    for (int k = 0; k < packs; ++k) {
                        float part[Lanes<T>::count];
                        unpack<T>(raw[c][r][k], part);
#pragma unroll
                        for (int i = 0; i < Lanes<T>::count; ++i)
                            tile.value[c][r][k * Lanes<T>::count + i] = code_of(part[i]);
                    }
                }
            }
            return;
        }
#pragma unroll
        for (int c = 0; c < 3; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const T* row = row_at(c, least(p.row + r, height - 1));
#pragma unroll
                for (int i = 0; i < kColumns; ++i)
                    tile.value[c][r][i] =
                        code_of(element_at(row + least(p.column + i, width - 1)));
            }
        }
    }

    __device__ void at(int row, int column, float* rgb) const {
        for (int c = 0; c < 3; ++c) rgb[c] = code_of(element_at(row_at(c, row) + column));
    }
};

}  // namespace border
}  // namespace acf
