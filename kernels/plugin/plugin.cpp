#include "plugin.h"

#include "cubins.h"
#include "log.h"
#include "prepared.h"

#include <cstdio>
#include <exception>

namespace acf::plugin {

namespace {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginTensorDesc;

constexpr int32_t kDone = 0;
constexpr int32_t kRefused = 1;

// Nothing may be thrown into TensorRT: what went wrong is told, and a value says that it did.
template <typename Body, typename Value>
Value guarded(Operator op, char const* step, Value failed, Body body) noexcept {
    try {
        return body();
    } catch (std::exception const& error) {
        try {
            report(Severity::kError, std::string(name_of(op)) + ", " + step + ": " + error.what());
        } catch (...) {
            // The text itself did not fit into memory.
        }
    } catch (...) {
        report(Severity::kError, "an unknown failure");
    }
    return failed;
}

void demand_counts(Operator op, int32_t inputs, int32_t outputs) {
    if (inputs != input_count(op) || outputs != 1)
        throw std::invalid_argument("takes " + std::to_string(input_count(op)) +
                                    " inputs and gives one output, not " + std::to_string(inputs) +
                                    " and " + std::to_string(outputs));
}

IDimensionExpr const* channels_of(DimsExprs const& features, int32_t branches,
                                  nvinfer1::IExprBuilder& builder) {
    IDimensionExpr const* const joined = features.d[1];
    if (joined->isConstant() && joined->getConstantValue() % branches != 0)
        throw std::invalid_argument(std::to_string(joined->getConstantValue()) +
                                    " channels cannot be shared among " +
                                    std::to_string(branches) + " branches");
    IDimensionExpr const* const divisor = builder.constant(branches);
    return builder.operation(DimensionOperation::kFLOOR_DIV, *joined, *divisor);
}

// Timings hold for the same kernels and the same arithmetic; shapes and formats are TensorRT's.
std::string timing_cache_id(Operator op, Settings const& settings) {
    char numbers[128];
    std::snprintf(numbers, sizeof numbers, "-b%d-%a-%a-%a", settings.branches,
                  static_cast<double>(settings.features_scale),
                  static_cast<double>(settings.logits_scale),
                  static_cast<double>(settings.output_scale));
    return std::string("acf-") + name_of(op) + "-" + std::string(cubins::kKernelHash, 16) + numbers;
}

}  // namespace

Plugin::Plugin(Operator op, Settings const& settings)
    : op_(op),
      settings_(settings),
      fields_(op, &settings_),
      timing_cache_id_(timing_cache_id(op, settings)) {}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
    switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE:
            return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD:
            return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME:
            return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
    return guarded(op_, "clone", static_cast<nvinfer1::IPluginV3*>(nullptr),
                   [&]() -> nvinfer1::IPluginV3* { return new Plugin(op_, settings_); });
}

char const* Plugin::getPluginName() const noexcept { return name_of(op_); }
char const* Plugin::getPluginVersion() const noexcept { return kVersion; }
char const* Plugin::getPluginNamespace() const noexcept { return kNamespace; }
int32_t Plugin::getNbOutputs() const noexcept { return 1; }
char const* Plugin::getTimingCacheID() noexcept { return timing_cache_id_.c_str(); }
char const* Plugin::getMetadataString() noexcept { return timing_cache_id_.c_str(); }

int32_t Plugin::configurePlugin(DynamicPluginTensorDesc const* in, int32_t nbInputs,
                                DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept {
    return guarded(op_, "configure", kRefused, [&] {
        demand_counts(op_, nbInputs, nbOutputs);
        problem_of(op_, settings_, gather(in, nbInputs, out));
        return kDone;
    });
}

int32_t Plugin::getOutputDataTypes(DataType* outputTypes, int32_t nbOutputs,
                                   DataType const* inputTypes, int32_t nbInputs) const noexcept {
    return guarded(op_, "data types", kRefused, [&] {
        demand_counts(op_, nbInputs, nbOutputs);
        demand_types(op_, settings_, inputTypes);
        outputTypes[0] = inputTypes[0];
        return kDone;
    });
}

int32_t Plugin::getOutputShapes(DimsExprs const* inputs, int32_t nbInputs, DimsExprs const*,
                                int32_t, DimsExprs* outputs, int32_t nbOutputs,
                                nvinfer1::IExprBuilder& exprBuilder) noexcept {
    return guarded(op_, "shapes", kRefused, [&] {
        demand_counts(op_, nbInputs, nbOutputs);
        if (inputs[0].nbDims != 4 || inputs[1].nbDims != 4)
            throw std::invalid_argument("features and logits must have 4 dimensions (NCHW)");
        outputs[0] = inputs[0];
        if (op_ == Operator::kJunctionVote)
            outputs[0].d[1] = channels_of(inputs[0], settings_.branches, exprBuilder);
        return kDone;
    });
}

bool Plugin::supportsFormatCombination(int32_t pos, DynamicPluginTensorDesc const* inOut,
                                       int32_t nbInputs, int32_t nbOutputs) noexcept {
    return nbInputs == input_count(op_) && nbOutputs == 1 && accepts(op_, settings_, pos, inOut);
}

size_t Plugin::getWorkspaceSize(DynamicPluginTensorDesc const* inputs, int32_t nbInputs,
                                DynamicPluginTensorDesc const* outputs,
                                int32_t nbOutputs) const noexcept {
    // configurePlugin() has told of whatever fails here.
    return guarded(op_, "workspace", size_t{0}, [&] {
        demand_counts(op_, nbInputs, nbOutputs);
        return workspace_of(problem_of(op_, settings_, gather(inputs, nbInputs, outputs)),
                            settings_);
    });
}

int32_t Plugin::onShapeChange(PluginTensorDesc const* in, int32_t nbInputs,
                              PluginTensorDesc const* out, int32_t nbOutputs) noexcept {
    return guarded(op_, "shape change", kRefused, [&] {
        demand_counts(op_, nbInputs, nbOutputs);
        prepare(problem_of(op_, settings_, gather(in, nbInputs, out)));
        return kDone;
    });
}

int32_t Plugin::enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc,
                        void const* const* inputs, void* const* outputs, void* workspace,
                        cudaStream_t stream) noexcept {
    return guarded(op_, "enqueue", kRefused, [&] {
        prepare(problem_of(op_, settings_, gather(inputDesc, input_count(op_), outputDesc)));
        prepared_->queue(inputs, outputs[0], workspace, stream);
        return kDone;
    });
}

// Loads code only where the shape is new: enqueue() after onShapeChange() finds all in place.
void Plugin::prepare(Problem const& problem) {
    if (prepared_ == nullptr || !(prepared_->problem() == problem))
        prepared_ = std::make_shared<Prepared const>(problem, settings_);
}

nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
    return clone();
}

nvinfer1::PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept {
    return fields_.collection();
}

nvinfer1::IPluginV3* Creator::createPlugin(char const*, nvinfer1::PluginFieldCollection const* fc,
                                           nvinfer1::TensorRTPhase) noexcept {
    return guarded(op_, "creation", static_cast<nvinfer1::IPluginV3*>(nullptr),
                   [&]() -> nvinfer1::IPluginV3* {
                       if (fc == nullptr) throw std::invalid_argument("no fields were given");
                       return new Plugin(op_, read_fields(op_, *fc));
                   });
}

nvinfer1::PluginFieldCollection const* Creator::getFieldNames() noexcept {
    return fields_.collection();
}
char const* Creator::getPluginName() const noexcept { return name_of(op_); }
char const* Creator::getPluginVersion() const noexcept { return kVersion; }
char const* Creator::getPluginNamespace() const noexcept { return kNamespace; }

}  // namespace acf::plugin
