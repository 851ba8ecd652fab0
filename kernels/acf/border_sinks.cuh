// Where the border kernels write: a picture, three planes, NV12.
#pragma once

#include "acf/border_tile.cuh"

namespace acf {
namespace border {

struct PictureSink {
    unsigned char* picture;
    int pitch;
    Rows rows;

    __device__ PictureSink(unsigned char* first, int bytes, const Rows& staging)
        : picture(first), pitch(bytes), rows(staging) {}

    __device__ unsigned char* row_at(int row) const {
        return picture + static_cast<long long>(pitch) * row;
    }

    template <class Source>
    __device__ void store(const Place& p, int height, int width, const Tile& tile,
                          const Source&) const {
        const int start = p.column - kColumns * p.lane;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if (p.row + r >= height || p.column >= width) continue;
            Pixels part;
#pragma unroll
            for (int i = 0; i < kColumns; ++i) {
#pragma unroll
                for (int c = 0; c < 3; ++c) part.byte[3 * i + c] = byte_of(tile.value[c][r][i]);
            }
            part.store(rows.of(p.band, r) + bytes_off(row_at(p.row + r) + 3 * start) +
                       3 * kColumns * p.lane);
        }
        __syncthreads();
        for (int r = 0; r < 2 && p.row + r < height; ++r)
            put_row(row_at(p.row + r) + 3 * start, rows.of(p.band, r),
                    3 * least(kSpan, width - start), p.lane);
    }
};

template <class T>
struct PlanarSink {
    unsigned char* planes;
    int pitch;
    long long plane_step;
    float gain, lift;  // element = gain * code + lift

    __device__ PlanarSink(unsigned char* first, long long step, int bytes, float factor,
                          float offset)
        : planes(first), pitch(bytes), plane_step(step), gain(factor), lift(offset) {}

    template <class Source>
    __device__ void store(const Place& p, int height, int width, const Tile& tile,
                          const Source&) const {
        if (p.column >= width) return;
#pragma unroll
        for (int c = 0; c < 3; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                if (p.row + r >= height) continue;
                T* row = reinterpret_cast<T*>(planes + c * plane_step +
                                              static_cast<long long>(pitch) * (p.row + r)) +
                         p.column;
                float element[kColumns];
#pragma unroll
                for (int i = 0; i < kColumns; ++i)
                    element[i] = gain * clipped(tile.value[c][r][i]) + lift;
                if (p.column + kColumns <= width && on_border(row, 16)) {
                    store_8(row, element);
                } else {
#pragma unroll
                    for (int i = 0; i < kColumns; ++i)
                        if (p.column + i < width) put_element(row + i, element[i]);
                }
            }
        }
    }
};

struct Nv12Sink {
    unsigned char *luma, *chroma;
    int luma_pitch, chroma_pitch;
    Chroma siting;
    ToYuv matrix;

    __device__ Nv12Sink(unsigned char* y, unsigned char* uv, int y_pitch, int uv_pitch,
                        const Chroma& where, const ToYuv& m)
        : luma(y),
          chroma(uv),
          luma_pitch(y_pitch),
          chroma_pitch(uv_pitch),
          siting(where),
          matrix(m) {}

    template <class Source>
    __device__ void store(const Place& p, int height, int width, const Tile& tile,
                          const Source& source) const {
        float u[kColumns + 1], v[kColumns + 1];  // columns -1..7, the rows already averaged
        const float weight[2] = {0.5f, siting.down_after};
#pragma unroll
        for (int i = 0; i <= kColumns; ++i) u[i] = v[i] = 0.0f;
        const bool inside = p.row < height && p.column < width;
        if (inside) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                Pack8 grey;
#pragma unroll
                for (int i = 0; i < kColumns; ++i) {
                    const float y = add(tile.value[0][r][i], tile.value[1][r][i],
                                        tile.value[2][r][i], weight[r], &u[i + 1], &v[i + 1]);
                    grey.byte[i] = byte_of(matrix.luma * y + matrix.lift);
                }
                if (p.row + r < height)
                    put_8(luma + static_cast<long long>(luma_pitch) * (p.row + r), p.column, width,
                          grey);
            }
            if (siting.down_before > 0.0f) {
#pragma unroll
                for (int i = 0; i < kColumns; ++i)
                    add_at(source, most(p.row - 1, 0), least(p.column + i, width - 1),
                           siting.down_before, &u[i + 1], &v[i + 1]);
            }
        }
        // The column before a lane's own is the last one of the lane before.
        u[0] = __shfl_up_sync(0xffffffffu, u[kColumns], 1);
        v[0] = __shfl_up_sync(0xffffffffu, v[kColumns], 1);
        if (!inside) return;
        if (p.lane == 0 && siting.across_before > 0.0f) {
            u[0] = v[0] = 0.0f;
            const int column = most(p.column - 1, 0);
            add_at(source, p.row, column, weight[0], &u[0], &v[0]);
            add_at(source, least(p.row + 1, height - 1), column, weight[1], &u[0], &v[0]);
            if (siting.down_before > 0.0f)
                add_at(source, most(p.row - 1, 0), column, siting.down_before, &u[0], &v[0]);
        }
        Pack8 pairs;
#pragma unroll
        for (int k = 0; k < kColumns / 2; ++k) {
            pairs.byte[2 * k] = byte_of(matrix.u * mean(u + 2 * k) + 128.0f);
            pairs.byte[2 * k + 1] = byte_of(matrix.v * mean(v + 2 * k) + 128.0f);
        }
        // A chroma row has as many bytes as pixels, rounded up to a pair.
        put_8(chroma + static_cast<long long>(chroma_pitch) * (p.row / 2), p.column,
              (width + 1) / 2 * 2, pairs);
    }

    __device__ float mean(const float* columns) const {
        return siting.across_before * columns[0] + 0.5f * columns[1] +
               siting.across_after * columns[2];
    }

    // Returns the grey of a pixel; adds its weighted differences in blue and red.
    __device__ float add(float r, float g, float b, float weight, float* u, float* v) const {
        r = clipped(r);
        g = clipped(g);
        b = clipped(b);
        const float y = matrix.red * r + matrix.green * g + matrix.blue * b;
        *u += weight * (b - y);
        *v += weight * (r - y);
        return y;
    }

    template <class Source>
    __device__ void add_at(const Source& source, int row, int column, float weight, float* u,
                           float* v) const {
        float rgb[3];
        source.at(row, column, rgb);
        add(rgb[0], rgb[1], rgb[2], weight, u, v);
    }

    __device__ static void put_8(unsigned char* row, int column, int width, const Pack8& eight) {
        if (column + kColumns <= width && on_border(row + column, 8)) {
            store_8(row + column, eight);
        } else {
#pragma unroll
            for (int i = 0; i < kColumns; ++i)
                if (column + i < width) put_byte(row + column + i, eight.byte[i]);
        }
    }
};

template <class Source, class Sink>
__device__ inline void convert(const Source& source, const Sink& sink, int height, int width) {
    const Place place = place_of_thread();
    Tile tile;
    source.load(place, height, width, tile);
    sink.store(place, height, width, tile, source);
}

}  // namespace border
}  // namespace acf
