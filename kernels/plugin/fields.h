// The fields of both operators: what creators advertise, take and write into an engine.
//
// JunctionVote              branches int32; features_scale, logits_scale, output_scale float32
// ChannelSpatialAttention   features_scale, logits_scale, output_scale float32
//
// in this order, each of length 1. acf_edge/engine/trt/plugin_fields.py says the same in Python:
// an engine that was written by one is read by the other.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstdint>
#include <string>

namespace acf::plugin {

constexpr char kNamespace[] = "acf";
constexpr char kVersion[] = "1";

enum class Operator { kJunctionVote, kChannelSpatialAttention };

char const* name_of(Operator op) noexcept;

// A scale is the step between two INT8 codes; 0: that tensor is not quantized.
struct Settings {
    int32_t branches{0};  // JunctionVote alone
    float features_scale{0.0F};
    float logits_scale{0.0F};
    float output_scale{0.0F};

    bool quantized() const noexcept { return features_scale > 0.0F; }
};

// Fields that point into a Settings, or to nothing (what a creator advertises).
class FieldList {
public:
    FieldList(Operator op, Settings const* settings) noexcept;
    FieldList(FieldList const&) = delete;
    FieldList& operator=(FieldList const&) = delete;
    ~FieldList() = default;

    nvinfer1::PluginFieldCollection const* collection() const noexcept { return &collection_; }

private:
    std::array<nvinfer1::PluginField, 4> fields_;
    nvinfer1::PluginFieldCollection collection_;
};

// Throws std::invalid_argument with what is wrong: a field that is missing, unknown, given twice,
// of another type or length, or out of range. A missing scale is 0.
Settings read_fields(Operator op, nvinfer1::PluginFieldCollection const& given);

}  // namespace acf::plugin
