// The border of a network: decoded frames (NV12) and pictures (RGB) in, pictures and NV12 out.
//
// Three sources and three sinks meet in ten kernels, each of one pass over memory:
//
//   nv12      8 bits, a plane of Y and one of interleaved Cb Cr at half the columns and rows
//   rgb       8 bits, R G B interleaved: the pictures that engines take and give, (N, H, W, 3)
//   planar    FP16 or FP32, (N, 3, H, W): what a network without a uint8 end takes and gives
//
// Every size from 1 x 1 on, every pitch; an odd side rounds the chroma up. Steps and pitches count
// bytes. Matrix, range and siting are numbers that come from outside (acf_edge/cuda/border.py).
// Samples between two chroma samples are interpolated linearly; a chroma sample that is written is
// the mean over the pixels around its place. Arithmetic is FP32 and nothing is rounded on the way:
// only bytes are, to nearest even, after they are clipped. A NaN becomes 0.
//
// A warp takes 256 columns of two rows, a lane 8 columns: 8 bytes of Y, 8 of Cb Cr, 16 of FP16.
// Pictures go through shared memory, so that whatever 3 W is a multiple of, memory sees whole
// 16-byte packs: a row lies there as far off a pack's border as it does in the picture.

// The order of the parameters: addresses in, addresses out, height, width, the layout of what is
// read, of what is written, then siting and matrix where there is NV12.

#include "acf/border_sinks.cuh"
#include "acf/border_sources.cuh"

namespace border = acf::border;

#define ACF_NV12_LAYOUT \
    long long luma_step, long long chroma_step, int luma_pitch, int chroma_pitch
#define ACF_RGB_LAYOUT long long rgb_step, int rgb_pitch
#define ACF_PLANES_LAYOUT \
    long long image_step, long long plane_step, int plane_pitch, float gain, float lift
#define ACF_SITING \
    float across_before, float across_after, float down_before, float down_after
#define ACF_FROM_YUV \
    float luma_gain, float luma_lift, float red_v, float green_u, float green_v, float blue_u
#define ACF_TO_YUV \
    float red, float green, float blue, float luma_gain, float luma_lift, float u_gain, float v_gain

// What they make, for the image of a block.
#define ACF_NV12(KIND, NAME)                                                                     \
    const border::KIND NAME(luma + luma_step * blockIdx.z, chroma + chroma_step * blockIdx.z,    \
                            luma_pitch, chroma_pitch,                                            \
                            {across_before, across_after, down_before, down_after}, matrix)
#define ACF_RGB(KIND, NAME)                                                                      \
    alignas(16) __shared__ unsigned char rows[border::kBands * 2 * border::kRowBytes];           \
    const border::KIND NAME(rgb + rgb_step * blockIdx.z, rgb_pitch, {rows})
#define ACF_PLANES(KIND, NAME)                                                                   \
    const border::KIND NAME(planes + image_step * blockIdx.z, plane_step, plane_pitch, gain, lift)

#define ACF_KERNEL extern "C" __global__ void __launch_bounds__(border::kLanes * border::kBands)
#define ACF_FROM(NAME) const unsigned char* NAME
#define ACF_TO(NAME) unsigned char* NAME

ACF_KERNEL nv12_to_rgb(ACF_FROM(luma), ACF_FROM(chroma), ACF_TO(rgb), int height, int width,
                       ACF_NV12_LAYOUT, ACF_RGB_LAYOUT, ACF_SITING, ACF_FROM_YUV) {
    const border::FromYuv matrix = {luma_gain, luma_lift, red_v, green_u, green_v, blue_u};
    ACF_NV12(Nv12Source, source);
    ACF_RGB(PictureSink, sink);
    border::convert(source, sink, height, width);
}

ACF_KERNEL rgb_to_nv12(ACF_FROM(rgb), ACF_TO(luma), ACF_TO(chroma), int height, int width,
                       ACF_RGB_LAYOUT, ACF_NV12_LAYOUT, ACF_SITING, ACF_TO_YUV) {
    const border::ToYuv matrix = {red, green, blue, luma_gain, luma_lift, u_gain, v_gain};
    ACF_RGB(PictureSource, source);
    ACF_NV12(Nv12Sink, sink);
    border::convert(source, sink, height, width);
}

#define ACF_PLANAR_KERNELS(ELEMENT, SUFFIX)                                                      \
    ACF_KERNEL nv12_to_planar_##SUFFIX(                                                          \
        ACF_FROM(luma), ACF_FROM(chroma), ACF_TO(planes), int height, int width,                 \
        ACF_NV12_LAYOUT, ACF_PLANES_LAYOUT, ACF_SITING, ACF_FROM_YUV) {                          \
        const border::FromYuv matrix = {luma_gain, luma_lift, red_v, green_u, green_v, blue_u};  \
        ACF_NV12(Nv12Source, source);                                                            \
        ACF_PLANES(PlanarSink<ELEMENT>, sink);                                                   \
        border::convert(source, sink, height, width);                                            \
    }                                                                                            \
    ACF_KERNEL rgb_to_planar_##SUFFIX(ACF_FROM(rgb), ACF_TO(planes), int height,                 \
                                          int width, ACF_RGB_LAYOUT, ACF_PLANES_LAYOUT) {        \
        ACF_RGB(PictureSource, source);                                                          \
        ACF_PLANES(PlanarSink<ELEMENT>, sink);                                                   \
        border::convert(source, sink, height, width);                                            \
    }                                                                                            \
    ACF_KERNEL planar_to_rgb_##SUFFIX(ACF_FROM(planes), ACF_TO(rgb), int height,                 \
                                          int width, ACF_PLANES_LAYOUT, ACF_RGB_LAYOUT) {        \
        ACF_PLANES(PlanarSource<ELEMENT>, source);                                               \
        ACF_RGB(PictureSink, sink);                                                              \
        border::convert(source, sink, height, width);                                            \
    }                                                                                            \
    ACF_KERNEL planar_to_nv12_##SUFFIX(                                                          \
        ACF_FROM(planes), ACF_TO(luma), ACF_TO(chroma), int height, int width,                   \
        ACF_PLANES_LAYOUT, ACF_NV12_LAYOUT, ACF_SITING, ACF_TO_YUV) {                            \
        const border::ToYuv matrix = {red, green, blue, luma_gain, luma_lift, u_gain, v_gain};   \
        ACF_PLANES(PlanarSource<ELEMENT>, source);                                               \
        ACF_NV12(Nv12Sink, sink);                                                                \
        border::convert(source, sink, height, width);                                            \
    }

ACF_PLANAR_KERNELS(acf::Half, fp16)
ACF_PLANAR_KERNELS(float, fp32)

// All sources make one module: these names are of this file alone.
#undef ACF_FROM
#undef ACF_FROM_YUV
#undef ACF_KERNEL
#undef ACF_NV12
#undef ACF_NV12_LAYOUT
#undef ACF_RGB
#undef ACF_RGB_LAYOUT
#undef ACF_PLANAR_KERNELS
#undef ACF_PLANES
#undef ACF_PLANES_LAYOUT
#undef ACF_SITING
#undef ACF_TO
#undef ACF_TO_YUV
