// From TensorRT's descriptions of a node's tensors to what a launch plan asks for.
#pragma once

#include "fields.h"

#include <NvInferRuntime.h>

#include <array>
#include <cstdint>

namespace acf::plugin {

// Inputs in the order of the ONNX functions:
//   JunctionVote              features, element_logits, weight, bias
//   ChannelSpatialAttention   features, spatial_logits, squeeze_weight, squeeze_bias,
//                             excite_weight, excite_bias
constexpr int32_t input_count(Operator op) noexcept {
    return op == Operator::kJunctionVote ? 4 : 6;
}
constexpr int32_t kMostTensors = 7;  // six inputs and the output

// A node's inputs, then its output, with shapes that are known.
using Tensors = std::array<nvinfer1::PluginTensorDesc, kMostTensors>;

Tensors gather(nvinfer1::PluginTensorDesc const* inputs, int32_t input_count,
               nvinfer1::PluginTensorDesc const* outputs);
// With the largest shapes of the optimization profile.
Tensors gather(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t input_count,
               nvinfer1::DynamicPluginTensorDesc const* outputs);

enum class Layout { kNchw, kNhwc, kChw32 };

struct Problem {
    Operator op{Operator::kJunctionVote};
    nvinfer1::DataType type{nvinfer1::DataType::kFLOAT};  // of features, logits and output
    Layout layout{Layout::kNchw};
    nvinfer1::DataType weights{nvinfer1::DataType::kFLOAT};
    int32_t n{0}, channels{0}, height{0}, width{0};  // of the output
    int32_t branches{0};                             // JunctionVote
    int32_t squeeze{0}, maps{0};                     // ChannelSpatialAttention
};

bool operator==(Problem const& a, Problem const& b) noexcept;

// May position `pos` (inputs, then the output) have its type and format, given those before it?
bool accepts(Operator op, Settings const& settings, int32_t pos,
             nvinfer1::DynamicPluginTensorDesc const* tensors) noexcept;

// Throws std::invalid_argument with what does not fit: types, layouts or shapes.
Problem problem_of(Operator op, Settings const& settings, Tensors const& tensors);

// Is a tensor of this type what the node's scales say? Throws std::invalid_argument if not.
void demand_types(Operator op, Settings const& settings, nvinfer1::DataType const* inputs);

}  // namespace acf::plugin
