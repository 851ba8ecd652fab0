#include "fields.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace acf::plugin {

namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

struct ScaleField {
    char const* name;
    float Settings::*value;
};

constexpr ScaleField kScales[] = {{"features_scale", &Settings::features_scale},
                                  {"logits_scale", &Settings::logits_scale},
                                  {"output_scale", &Settings::output_scale}};
constexpr char kBranches[] = "branches";

// The bytes of a field need not be aligned: those of an engine file are not.
template <typename T>
T loaded(PluginField const& field) {
    T value;
    std::memcpy(&value, field.data, sizeof value);
    return value;
}

std::string quoted(char const* name) { return "'" + std::string(name) + "'"; }

void demand_one_value(PluginField const& field) {
    if (field.data == nullptr || field.length != 1)
        throw std::invalid_argument("field " + quoted(field.name) + " must hold one value, not " +
                                    std::to_string(field.data == nullptr ? 0 : field.length));
}

int32_t branches_in(PluginField const& field) {
    demand_one_value(field);
    int64_t value = 0;
    if (field.type == PluginFieldType::kINT32) {
        value = loaded<int32_t>(field);
    } else if (field.type == PluginFieldType::kINT64) {
        value = loaded<int64_t>(field);
    } else {
        throw std::invalid_argument("field 'branches' must be a whole number");
    }
    if (value < 1 || value > std::numeric_limits<int32_t>::max())
        throw std::invalid_argument("field 'branches' must be 1 or more, not " +
                                    std::to_string(value));
    return static_cast<int32_t>(value);
}

float scale_in(PluginField const& field) {
    demand_one_value(field);
    double value = 0.0;
    if (field.type == PluginFieldType::kFLOAT32) {
        value = static_cast<double>(loaded<float>(field));
    } else if (field.type == PluginFieldType::kFLOAT64) {
        value = loaded<double>(field);
    } else {
        throw std::invalid_argument("field " + quoted(field.name) + " must be a float");
    }
    auto const scale = static_cast<float>(value);
    if (!std::isfinite(scale) || scale < 0.0F)
        throw std::invalid_argument("field " + quoted(field.name) +
                                    " must be finite and 0 or more, not " + std::to_string(value));
    return scale;
}

void demand_all_scales_or_none(Settings const& settings) {
    int given = 0;
    for (ScaleField const& scale : kScales) given += settings.*scale.value > 0.0F ? 1 : 0;
    if (given != 0 && given != 3)
        throw std::invalid_argument(
            "features_scale, logits_scale and output_scale belong together: either all are "
            "positive (INT8) or all are 0");
}

}  // namespace

char const* name_of(Operator op) noexcept {
    return op == Operator::kJunctionVote ? "JunctionVote" : "ChannelSpatialAttention";
}

FieldList::FieldList(Operator op, Settings const* settings) noexcept {
    int32_t count = 0;
    if (op == Operator::kJunctionVote)
        fields_[static_cast<size_t>(count++)] =
            PluginField(kBranches, settings == nullptr ? nullptr : &settings->branches,
                        PluginFieldType::kINT32, 1);
    for (ScaleField const& scale : kScales)
        fields_[static_cast<size_t>(count++)] =
            PluginField(scale.name, settings == nullptr ? nullptr : &(settings->*scale.value),
                        PluginFieldType::kFLOAT32, 1);
    collection_.nbFields = count;
    collection_.fields = fields_.data();
}

Settings read_fields(Operator op, nvinfer1::PluginFieldCollection const& given) {
    Settings settings;
    FieldList const known(op, nullptr);
    bool seen[4] = {};
    for (int32_t i = 0; i < given.nbFields; ++i) {
        PluginField const& field = given.fields[i];
        std::string_view const name(field.name == nullptr ? "" : field.name);
        int32_t at = 0;
        int32_t const count = known.collection()->nbFields;
        while (at < count && name != known.collection()->fields[at].name) ++at;
        if (at == count)
            throw std::invalid_argument(std::string(name_of(op)) + " has no field '" +
                                        std::string(name) + "'");
        if (seen[at]) throw std::invalid_argument("field " + quoted(field.name) + " came twice");
        seen[at] = true;
        if (name == kBranches) settings.branches = branches_in(field);
        for (ScaleField const& scale : kScales)
            if (name == scale.name) settings.*scale.value = scale_in(field);
    }
    if (op == Operator::kJunctionVote && settings.branches == 0)
        throw std::invalid_argument("field 'branches' is missing");
    demand_all_scales_or_none(settings);
    return settings;
}

}  // namespace acf::plugin
