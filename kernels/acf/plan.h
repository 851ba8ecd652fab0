// Launch plans of the operators in C++: the same as acf_edge/cuda/operators.py makes (a test
// compares them). Plain C++17, no CUDA.
//
// Decided by shapes alone, so an engine that is built on one machine runs the same on another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace acf {
namespace plan {

enum class Dtype { kFp16, kFp32, kInt8 };
enum class Layout { kNchw, kNhwc, kChw32 };

// What an argument points to. Inputs are numbered as the operator's: JunctionVote features,
// element logits, weight, bias; ChannelSpatialAttention features, spatial logits, squeeze weight
// and bias, excite weight and bias.
constexpr int kOutput = -1, kWorkspace = -2;

struct Argument {
    enum class Kind { kPointer, kInt32, kInt64, kFloat32 };
    Kind kind;
    int buffer;            // kPointer: an input, kOutput or kWorkspace
    std::int64_t integer;  // kPointer: bytes beyond its start; kInt32, kInt64: the value
    float real;            // kFloat32: the value

    static Argument pointer(int buffer, std::int64_t offset = 0) {
        return {Kind::kPointer, buffer, offset, 0.0f};
    }
    static Argument int32(std::int64_t value) { return {Kind::kInt32, 0, value, 0.0f}; }
    static Argument int64(std::int64_t value) { return {Kind::kInt64, 0, value, 0.0f}; }
    static Argument float32(float value) { return {Kind::kFloat32, 0, 0, value}; }
};

struct Dimensions {
    std::uint32_t x = 1, y = 1, z = 1;
};

struct Launch {
    std::string kernel;
    Dimensions grid, block;
    std::uint32_t shared = 0;  // bytes of dynamic shared memory
    std::vector<Argument> arguments;
};

struct Plan {
    std::size_t workspace = 0;  // bytes, aligned to 256; its contents need not be set
    std::vector<Launch> launches;
};

// What is not the shape.
struct Form {
    Dtype dtype = Dtype::kFp16;
    Layout layout = Layout::kNchw;
    Dtype weights = Dtype::kFp16;          // kFp16 or kFp32
    float scales[3] = {0.0f, 0.0f, 0.0f};  // features, logits, output; for INT8
    std::int64_t multiple = 0;             // kNhwc: channels are padded to it; 0: TensorRT's
    bool aligned = true;                   // every buffer starts on 16 bytes
};

namespace detail {

constexpr std::int64_t kPack = 16, kThreads = 256, kMeansDepth = 4, kVotesThreads = 512,
                       kVotesRows = 128, kVotesBlocks = 64, kSlice = 8, kSlicePacks = 64,
                       kManyBlocks = 4096, kMaxYz = 65535, kAlign = 256, kMost = 2147483647,
                       kMostPlanes = 1 << 30;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Call {
    std::int64_t n, channels, pixels;
    Form form;

    std::int64_t size() const {
        return form.dtype == Dtype::kFp16 ? 2 : form.dtype == Dtype::kFp32 ? 4 : 1;
    }
    std::int64_t lanes() const { return kPack / size(); }
    const char* dtype() const {
        return form.dtype == Dtype::kFp16 ? "fp16" : form.dtype == Dtype::kFp32 ? "fp32" : "int8";
    }
    const char* weights() const { return form.weights == Dtype::kFp16 ? "fp16" : "fp32"; }
    // From a sum to a mean, and from a vote to what elements are multiplied with.
    float unit() const {
        const double scale = form.dtype == Dtype::kInt8 ? form.scales[0] : 1.0;
        return static_cast<float>(scale / static_cast<double>(pixels));
    }
    float gain() const {
        if (form.dtype != Dtype::kInt8) return 1.0f;
        return static_cast<float>(static_cast<double>(form.scales[0]) / form.scales[2]);
    }
    // Votes that a block computes.
    std::int64_t rows() const { return std::max(kVotesRows, ceil_div(channels, kVotesBlocks)); }
    std::int64_t depth(bool whole) const {
        const std::int64_t packs = 16 / lanes();
        return whole || lanes() == 16 ? packs : packs / 2;
    }
    // Channels that lie side by side in memory, with their padding.
    std::int64_t lanes_of(std::int64_t count) const {
        if (form.layout == Layout::kNchw) return count;
        if (form.layout == Layout::kChw32) return 32;
        std::int64_t multiple = form.multiple;
        if (multiple == 0)
            multiple = form.dtype == Dtype::kFp16 ? 8 : form.dtype == Dtype::kFp32 ? 1 : 16;
        if (multiple < 1) throw std::invalid_argument("channels are padded to 1 at least");
        return ceil_div(count, multiple) * multiple;
    }
    std::string name(const char* step, bool whole) const {
        return std::string("acf_") + step + "_" + dtype() + (whole ? "" : "_any");
    }
};

inline Call make_call(std::int64_t n, std::int64_t channels, std::int64_t pixels,
                      const Form& form) {
    if (form.layout == Layout::kChw32 && form.dtype != Dtype::kInt8)
        throw std::invalid_argument("groups of 32 channels are for INT8");
    if (n * channels > kMostPlanes)  // of all images together: the kernels count them in 32 bits
        throw std::invalid_argument("too many images of too many channels");
    if (form.weights == Dtype::kInt8) throw std::invalid_argument("weights are FP16 or FP32");
    if (form.dtype == Dtype::kInt8)
        for (float scale : form.scales)
            if (!(scale > 0.0f && scale < std::numeric_limits<float>::infinity()))
                throw std::invalid_argument("INT8 needs three scales above 0");
    return {n, channels, pixels, form};
}

inline void check_sizes(std::initializer_list<std::int64_t> sizes) {
    for (std::int64_t size : sizes)
        if (size < 1 || size > kMost)
            throw std::invalid_argument("sizes are 1 at least and fit 32 bits");
}

class Workspace {
  public:
    Argument floats(std::int64_t count) {
        const Argument pointer = Argument::pointer(kWorkspace, size_);
        size_ += ceil_div(4 * count, kAlign) * kAlign;
        return pointer;
    }
    std::size_t size() const { return static_cast<std::size_t>(size_); }

  private:
    std::int64_t size_ = 0;
};

inline Dimensions dimensions(std::int64_t x, std::int64_t y, std::int64_t z) {
    return {static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y),
            static_cast<std::uint32_t>(z)};
}

// Size and number of parts: a size is a multiple of `least`, the number at most `most`.
inline std::pair<std::int64_t, std::int64_t> parts(std::int64_t count, std::int64_t least,
                                                   std::int64_t most) {
    const std::int64_t part = least * ceil_div(count, least * most);
    return {part, ceil_div(count, part)};
}

// Threads in a row of whole warps, as many as have something to do.
inline std::int64_t row(std::int64_t packs, std::int64_t depth) {
    return std::min(kThreads, 32 * ceil_div(packs, 32 * depth));
}

struct Columns {
    Dimensions block;
    std::int64_t slices;
};

// Where channels come last: a block of (packs, pixels), and slices of so many packs.
inline Columns columns(const Call& call, std::int64_t channels, std::int64_t lanes) {
    const std::int64_t groups = ceil_div(channels, lanes), packs = ceil_div(lanes, call.lanes());
    const std::int64_t across = std::min(packs, kSlicePacks);
    return {dimensions(across, kThreads / across, 1), groups * ceil_div(packs, across)};
}

inline Launch sum_up(const Call& call, std::int64_t branches) {
    Launch launch;
    launch.arguments = {Argument::pointer(0), Argument::pointer(kWorkspace)};
    auto& more = launch.arguments;
    if (call.form.layout == Layout::kNchw) {
        const std::int64_t most =
            std::min<std::int64_t>(512, std::max<std::int64_t>(32, kManyBlocks / call.channels));
        const auto part = parts(call.pixels, kThreads * kMeansDepth * call.lanes(), most);
        launch.kernel = call.name("means_nchw", true);
        launch.grid = dimensions(part.second, std::min(call.n * call.channels, kMaxYz), 1);
        launch.block = dimensions(kThreads, 1, 1);
        more.insert(more.end(), {Argument::int64(call.pixels), Argument::int64(part.first),
                                 Argument::int32(call.n), Argument::int32(call.channels / branches),
                                 Argument::int32(branches)});
        return launch;
    }
    const std::int64_t lanes = call.lanes_of(call.channels);
    const Columns shape = columns(call, call.channels, lanes);
    const auto part = parts(call.pixels, shape.block.y * kMeansDepth,
                            std::max<std::int64_t>(32, 512 / shape.slices));
    launch.kernel = call.name("means_nhwc", call.form.aligned && lanes % call.lanes() == 0);
    launch.grid = dimensions(part.second, shape.slices, std::min(call.n, kMaxYz));
    launch.block = shape.block;
    more.insert(more.end(),
                {Argument::int64(call.pixels), Argument::int64(part.first), Argument::int32(call.n),
                 Argument::int32(call.channels), Argument::int32(lanes)});
    return launch;
}

inline Launch weigh(const Call& call, std::int64_t width, std::int64_t branches, std::int64_t maps,
                    const Argument& votes) {
    const Argument scale = Argument::float32(call.form.scales[1]);
    Launch launch;
    launch.arguments = {Argument::pointer(0), Argument::pointer(1), votes,
                        Argument::pointer(kOutput), Argument::int64(call.pixels)};
    auto& more = launch.arguments;
    if (call.form.layout == Layout::kNchw) {
        const bool whole = call.form.aligned && call.pixels * call.size() % kPack == 0;
        const std::int64_t packs =
            whole ? call.pixels / call.lanes() : ceil_div(call.pixels, call.lanes()) + 1;
        const std::int64_t depth = call.depth(whole), block = row(packs, depth);
        launch.kernel = call.name("weigh_nchw", whole);
        launch.grid =
            dimensions(ceil_div(packs, block * depth), std::min(call.n * width, kMaxYz), 1);
        launch.block = dimensions(block, 1, 1);
        more.insert(more.end(), {Argument::int32(call.n), Argument::int32(width),
                                 Argument::int32(branches), Argument::int32(maps), scale});
        return launch;
    }
    const std::int64_t lanes = call.lanes_of(call.channels), output_lanes = call.lanes_of(width);
    const bool whole = call.form.aligned && lanes % call.lanes() == 0 &&
                       output_lanes % call.lanes() == 0 &&
                       (branches == 1 || width % call.lanes() == 0);
    const Columns shape = columns(call, width, output_lanes);
    launch.kernel = call.name("weigh_nhwc", whole);
    launch.grid = dimensions(ceil_div(call.pixels, shape.block.y * call.depth(whole)), shape.slices,
                             std::min(call.n, kMaxYz));
    launch.block = shape.block;
    more.insert(more.end(),
                {Argument::int32(call.n), Argument::int32(width), Argument::int32(branches),
                 Argument::int32(lanes), Argument::int32(output_lanes), scale});
    return launch;
}

inline Launch attend(const Call& call, const Argument& votes) {
    const Argument scale = Argument::float32(call.form.scales[1]);
    Launch launch;
    launch.arguments = {Argument::pointer(0), Argument::pointer(1), votes,
                        Argument::pointer(kOutput), Argument::int64(call.pixels)};
    auto& more = launch.arguments;
    more.insert(more.end(), {Argument::int32(call.n), Argument::int32(call.channels)});
    if (call.form.layout == Layout::kNchw) {
        const std::int64_t packs = call.pixels / call.lanes(), depth = call.depth(true);
        const std::int64_t block = row(packs, depth);
        const std::int64_t slice = std::max(kSlice, ceil_div(call.channels, kMaxYz));
        launch.kernel = call.name("attend_nchw", true);
        launch.grid = dimensions(ceil_div(packs, block * depth), ceil_div(call.channels, slice),
                                 std::min(call.n, kMaxYz));
        launch.block = dimensions(block, 1, 1);
        more.insert(more.end(), {Argument::int32(slice), scale});
        return launch;
    }
    const std::int64_t lanes = call.lanes_of(call.channels), map_lanes = call.lanes_of(1);
    const bool whole = call.form.aligned && lanes % call.lanes() == 0;
    const Columns shape = columns(call, call.channels, lanes);
    const std::int64_t tiles = ceil_div(call.pixels, shape.block.y * call.depth(whole));
    const std::int64_t rounds = std::min<std::int64_t>(
        8, std::max<std::int64_t>(1, tiles * shape.slices * call.n / kManyBlocks));
    launch.kernel = call.name("attend_nhwc", whole);
    launch.grid = dimensions(ceil_div(tiles, rounds), shape.slices, std::min(call.n, kMaxYz));
    launch.block = shape.block;
    more.insert(more.end(), {Argument::int32(lanes), Argument::int32(map_lanes),
                             Argument::int32(lanes), scale});
    return launch;
}

inline Launch votes_launch(const Call& call, const char* step) {
    Launch launch;
    launch.kernel = std::string("acf_") + step + "_votes_" + call.weights();
    launch.grid = dimensions(ceil_div(call.channels, call.rows()), std::min(call.n, kMaxYz), 1);
    launch.block = dimensions(kVotesThreads, 1, 1);
    return launch;
}

}  // namespace detail

// acf::JunctionVote for features and logits (n, branches * channels, height, width) and output
// (n, channels, height, width). Throws std::invalid_argument: a size below 1 or one that 32 bits
// do not hold, a layout that the dtype does not have, a scale that is missing.
inline Plan junction_vote(std::int64_t n, std::int64_t channels, std::int64_t branches,
                          std::int64_t height, std::int64_t width, const Form& form) {
    using namespace detail;
    check_sizes({n, channels, branches, height, width});
    check_sizes({channels * branches});
    const Call call = make_call(n, channels * branches, height * width, form);
    Launch sums = sum_up(call, branches), vote = votes_launch(call, "junction");
    const std::int64_t chunks = sums.grid.x;
    Workspace space;
    const Argument partial = space.floats(n * call.channels * chunks);
    const Argument means = space.floats(n * vote.grid.x * call.channels);
    const Argument votes = space.floats(n * call.channels);
    vote.arguments = {partial,
                      Argument::pointer(2),
                      Argument::pointer(3),
                      means,
                      votes,
                      Argument::int32(n),
                      Argument::int32(call.channels),
                      Argument::int32(chunks),
                      Argument::int32(call.rows()),
                      Argument::float32(call.unit()),
                      Argument::float32(call.gain())};
    Launch last = weigh(call, channels, branches, call.channels, votes);
    return {space.size(), {sums, vote, last}};
}

// acf::ChannelSpatialAttention for features and output (n, channels, height, width), logits
// (n, maps, height, width) with maps 1 or channels, and `squeeze` hidden units. Throws as
// junction_vote().
inline Plan attention(std::int64_t n, std::int64_t channels, std::int64_t squeeze,
                      std::int64_t height, std::int64_t width, std::int64_t maps,
                      const Form& form) {
    using namespace detail;
    check_sizes({n, channels, squeeze, height, width});
    if (maps != 1 && maps != channels)
        throw std::invalid_argument("there is one map, or one per channel");
    const Call call = make_call(n, channels, height * width, form);
    Launch sums = sum_up(call, 1), vote = votes_launch(call, "attention");
    const std::int64_t chunks = sums.grid.x;
    Workspace space;
    const Argument partial = space.floats(n * channels * chunks);
    const Argument means = space.floats(n * vote.grid.x * channels);
    const Argument hidden = space.floats(n * vote.grid.x * squeeze);
    const Argument votes = space.floats(n * channels);
    vote.arguments = {partial,
                      Argument::pointer(2),
                      Argument::pointer(3),
                      Argument::pointer(4),
                      Argument::pointer(5),
                      means,
                      hidden,
                      votes,
                      Argument::int32(n),
                      Argument::int32(channels),
                      Argument::int32(squeeze),
                      Argument::int32(chunks),
                      Argument::int32(call.rows()),
                      Argument::float32(call.unit()),
                      Argument::float32(call.gain())};
    const bool whole = form.aligned && call.pixels * call.size() % kPack == 0;
    const bool each = maps == channels || (form.layout == Layout::kNchw && !whole);
    Launch last = each ? weigh(call, channels, 1, maps, votes) : attend(call, votes);
    return {space.size(), {sums, vote, last}};
}

}  // namespace plan
}  // namespace acf
