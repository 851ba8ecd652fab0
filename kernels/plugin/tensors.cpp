#include "tensors.h"

#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>

namespace acf::plugin {

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr char const* kInputNames[2][6] = {
    {"features", "element_logits", "weight", "bias", "", ""},
    {"features", "spatial_logits", "squeeze_weight", "squeeze_bias", "excite_weight",
     "excite_bias"}};

std::string input_name(Operator op, int32_t index) {
    if (index == input_count(op)) return "output";
    return kInputNames[op == Operator::kJunctionVote ? 0 : 1][index];
}

std::string text(Dims const& dims) {
    std::string result = "(";
    for (int32_t i = 0; i < dims.nbDims; ++i)
        result += (i == 0 ? "" : ", ") + std::to_string(dims.d[i]);
    return result + ")";
}

char const* text(DataType type) noexcept {
    switch (type) {
        case DataType::kFLOAT: return "FP32";
        case DataType::kHALF: return "FP16";
        case DataType::kINT8: return "INT8";
        default: return "another type";
    }
}

bool is_float(DataType type) noexcept {
    return type == DataType::kFLOAT || type == DataType::kHALF;
}

bool layout_of(DataType type, TensorFormat format, Layout& layout) noexcept {
    switch (format) {
        case TensorFormat::kLINEAR: layout = Layout::kNchw; return true;
        case TensorFormat::kHWC: layout = Layout::kNhwc; return type == DataType::kFLOAT;
        case TensorFormat::kHWC8: layout = Layout::kNhwc; return type == DataType::kHALF;
        case TensorFormat::kHWC16: layout = Layout::kNhwc; return type == DataType::kINT8;
        case TensorFormat::kCHW32: layout = Layout::kChw32; return type == DataType::kINT8;
        default: return false;
    }
}

// What TensorRT may choose. INT8 in kHWC16 came with 10.9.
bool is_offered(DataType type, TensorFormat format) noexcept {
#if NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR < 9
    if (format == TensorFormat::kHWC16) return false;
#endif
    Layout layout;
    return layout_of(type, format, layout);
}

bool fits_scales(Settings const& settings, DataType type) noexcept {
    return settings.quantized() ? type == DataType::kINT8 : is_float(type);
}

int32_t size_of(Dims const& dims, int32_t axis, std::string const& name) {
    int64_t const size = dims.d[axis];
    if (size < 1 || size > std::numeric_limits<int32_t>::max())
        throw std::invalid_argument(name + " " + text(dims) + ": a side is empty or too large");
    return static_cast<int32_t>(size);
}

void demand_shape(Operator op, Tensors const& tensors, int32_t index,
                  std::initializer_list<int64_t> expected) {
    Dims wanted{};
    for (int64_t size : expected) wanted.d[wanted.nbDims++] = size;
    Dims const& found = tensors[static_cast<size_t>(index)].dims;
    bool same = found.nbDims == wanted.nbDims;
    // The output's sides follow from the inputs'; TensorRT need not know them (-1) yet.
    for (int32_t i = 0; same && i < wanted.nbDims; ++i)
        same = found.d[i] == wanted.d[i] || (index == input_count(op) && found.d[i] == -1);
    if (!same)
        throw std::invalid_argument(input_name(op, index) + " is " + text(found) + ", not " +
                                    text(wanted));
}

void demand_rank(Operator op, Tensors const& tensors, int32_t index, int32_t rank) {
    Dims const& found = tensors[static_cast<size_t>(index)].dims;
    if (found.nbDims != rank)
        throw std::invalid_argument(input_name(op, index) + " " + text(found) + " has not " +
                                    std::to_string(rank) + " dimensions");
}

Dims known(nvinfer1::DynamicPluginTensorDesc const& tensor) noexcept {
    Dims dims = tensor.desc.dims;
    // A shape without a profile stands in desc alone.
    for (int32_t i = 0; i < dims.nbDims; ++i)
        if (tensor.max.nbDims == dims.nbDims && tensor.max.d[i] > dims.d[i])
            dims.d[i] = tensor.max.d[i];
    return dims;
}

void set_sizes(Problem& problem, Settings const& settings, Tensors const& tensors) {
    Operator const op = problem.op;
    int32_t const output = input_count(op);
    for (int32_t index : {0, 1, output}) demand_rank(op, tensors, index, 4);
    demand_rank(op, tensors, 2, 2);
    Dims const& features = tensors[0].dims;
    problem.n = size_of(features, 0, "features");
    int32_t const joined = size_of(features, 1, "features");
    problem.height = size_of(features, 2, "features");
    problem.width = size_of(features, 3, "features");
    int64_t const n = problem.n, h = problem.height, w = problem.width;
    if (op == Operator::kJunctionVote) {
        problem.branches = settings.branches;
        if (joined % settings.branches != 0)
            throw std::invalid_argument("features " + text(features) + " cannot be shared among " +
                                        std::to_string(settings.branches) + " branches");
        problem.channels = joined / settings.branches;
        demand_shape(op, tensors, 1, {n, joined, h, w});
        demand_shape(op, tensors, 2, {joined, joined});
        demand_shape(op, tensors, 3, {joined});
    } else {
        problem.channels = joined;
        problem.maps = size_of(tensors[1].dims, 1, "spatial_logits");
        problem.squeeze = size_of(tensors[2].dims, 0, "squeeze_weight");
        if (problem.maps != 1 && problem.maps != joined)
            throw std::invalid_argument("spatial_logits " + text(tensors[1].dims) +
                                        " must have 1 or " + std::to_string(joined) + " channels");
        demand_shape(op, tensors, 1, {n, problem.maps, h, w});
        demand_shape(op, tensors, 2, {problem.squeeze, joined});
        demand_shape(op, tensors, 3, {problem.squeeze});
        demand_shape(op, tensors, 4, {joined, problem.squeeze});
        demand_shape(op, tensors, 5, {joined});
    }
    demand_shape(op, tensors, output, {n, problem.channels, h, w});
}

}  // namespace

Tensors gather(PluginTensorDesc const* inputs, int32_t count, PluginTensorDesc const* outputs) {
    Tensors result{};
    for (int32_t i = 0; i < count; ++i) result.at(static_cast<size_t>(i)) = inputs[i];
    result.at(static_cast<size_t>(count)) = outputs[0];
    return result;
}

Tensors gather(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t count,
               nvinfer1::DynamicPluginTensorDesc const* outputs) {
    Tensors result{};
    for (int32_t i = 0; i <= count; ++i) {
        nvinfer1::DynamicPluginTensorDesc const& tensor = i < count ? inputs[i] : outputs[0];
        result.at(static_cast<size_t>(i)) = tensor.desc;
        result.at(static_cast<size_t>(i)).dims = known(tensor);
    }
    return result;
}

bool operator==(Problem const& a, Problem const& b) noexcept {
    auto const all = [](Problem const& p) {
        return std::tie(p.op, p.type, p.layout, p.weights, p.n, p.channels, p.height, p.width,
                        p.branches, p.squeeze, p.maps);
    };
    return all(a) == all(b);
}

bool accepts(Operator op, Settings const& settings, int32_t pos,
             nvinfer1::DynamicPluginTensorDesc const* tensors) noexcept {
    int32_t const output = input_count(op);
    if (pos < 0 || pos > output) return false;
    PluginTensorDesc const& features = tensors[0].desc;
    PluginTensorDesc const& asked = tensors[pos].desc;
    if (pos == 0)
        return fits_scales(settings, asked.type) && is_offered(asked.type, asked.format);
    if (pos == 1 || pos == output)
        return asked.type == features.type && asked.format == features.format;
    if (asked.format != TensorFormat::kLINEAR || !is_float(asked.type)) return false;
    return pos == 2 || asked.type == tensors[2].desc.type;
}

void demand_types(Operator op, Settings const& settings, DataType const* inputs) {
    if (!fits_scales(settings, inputs[0]))
        throw std::invalid_argument(
            std::string("features are ") + text(inputs[0]) +
            (settings.quantized() ? ", but the scales are set: they must be INT8"
                                  : ", but without scales they must be FP16 or FP32"));
    if (inputs[1] != inputs[0])
        throw std::invalid_argument(input_name(op, 1) + " must have the type of the features");
    for (int32_t i = 2; i < input_count(op); ++i)
        if (!is_float(inputs[i]) || inputs[i] != inputs[2])
            throw std::invalid_argument(input_name(op, i) +
                                        ": weights and biases must be all FP16 or all FP32");
}

Problem problem_of(Operator op, Settings const& settings, Tensors const& tensors) {
    int32_t const output = input_count(op);
    DataType types[kMostTensors];
    for (size_t i = 0; i < kMostTensors; ++i) types[i] = tensors[i].type;
    demand_types(op, settings, types);
    Problem problem;
    problem.op = op;
    problem.type = tensors[0].type;
    problem.weights = tensors[2].type;
    if (!layout_of(problem.type, tensors[0].format, problem.layout))
        throw std::invalid_argument("features have a layout that the kernels do not read");
    for (int32_t i = 1; i <= output; ++i) {
        PluginTensorDesc const& tensor = tensors[static_cast<size_t>(i)];
        bool const like_features = i == 1 || i == output;
        if (tensor.format != (like_features ? tensors[0].format : TensorFormat::kLINEAR))
            throw std::invalid_argument(input_name(op, i) + " has another layout than it must");
    }
    if (tensors[static_cast<size_t>(output)].type != problem.type)
        throw std::invalid_argument("the output must have the type of the features");
    set_sizes(problem, settings, tensors);
    return problem;
}

}  // namespace acf::plugin
