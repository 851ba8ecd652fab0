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
        float u[2][6], v[2][6];  // pairs -1..4, as they are at the tile's two rows
        {
            float above_u[6], above_v[6], below_u[6], below_v[6];
            pairs(most(line - 1, 0), pair, chroma_width, above_u, above_v);
            pairs(line, pair, chroma_width, u[0], v[0]);
            pairs(least(line + 1, chroma_height - 1), pair, chroma_width, below_u, below_v);
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
            const unsigned char* row = luma + static_cast<long long>(luma_pitch) *
                                                  least(p.row + r, height - 1);
            Pack8 grey;
            if (p.column + kColumns <= width && on_border(row + p.column, 8)) {
                grey = load_8(row + p.column);
            } else {
#pragma unroll
                for (int i = 0; i < kColumns; ++i)
                    grey.byte[i] = byte_at(row + least(p.column + i, width - 1));
            }
#pragma unroll
            for (int i = 0; i < kColumns; ++i) {
                const int k = i / 2 + 1;
                const int other = i % 2 ? k + 1 : k - 1;
                const float weight = i % 2 ? siting.across_after : siting.across_before;
                rgb_of(matrix, number_of(grey.byte[i]), between(u[r][k], u[r][other], weight),
                       between(v[r][k], v[r][other], weight), &tile.value[0][r][i],
                       &tile.value[1][r][i], &tile.value[2][r][i]);
            }
        }
    }

    // Cb and Cr of the pairs first - 1 .. first + 4 of a line; beyond the picture, its last ones.
    __device__ void pairs(int line, int first, int count, float* u, float* v) const {
        const unsigned char* row = chroma + static_cast<long long>(chroma_pitch) * line;
        if (first + 4 <= count && on_border(row + 2 * first, 8)) {
            const Pack8 four = load_8(row + 2 * first);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                u[i + 1] = number_of(four.byte[2 * i]);
                v[i + 1] = number_of(four.byte[2 * i + 1]);
            }
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const unsigned char* at = row + 2 * least(first + i, count - 1);
                u[i + 1] = number_of(byte_at(at));
                v[i + 1] = number_of(byte_at(at + 1));
            }
        }
        const unsigned char* before = row + 2 * most(first - 1, 0);
        const unsigned char* after = row + 2 * least(first + 4, count - 1);
        u[0] = number_of(byte_at(before));
        v[0] = number_of(byte_at(before + 1));
        u[5] = number_of(byte_at(after));
        v[5] = number_of(byte_at(after + 1));
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
        for (int r = 0; r < 2 && p.row < height; ++r)
            fetch_row(row_at(least(p.row + r, height - 1)) + 3 * start, rows.of(p.band, r),
                      3 * least(kSpan, width - start), p.lane);
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
#pragma unroll
        for (int c = 0; c < 3; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const T* row = row_at(c, least(p.row + r, height - 1));
                float element[kColumns];
                if (p.column + kColumns <= width && on_border(row + p.column, 16)) {
                    load_8(row + p.column, element);
                } else {
#pragma unroll
                    for (int i = 0; i < kColumns; ++i)
                        element[i] = element_at(row + least(p.column + i, width - 1));
                }
#pragma unroll
                for (int i = 0; i < kColumns; ++i) tile.value[c][r][i] = code_of(element[i]);
            }
        }
    }

    __device__ void at(int row, int column, float* rgb) const {
        for (int c = 0; c < 3; ++c) rgb[c] = code_of(element_at(row_at(c, row) + column));
    }
};

}  // namespace border
}  // namespace acf
