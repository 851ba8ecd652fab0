#include "prepared.h"

#include <cstdint>

namespace acf::plugin {

namespace {

constexpr std::uintptr_t kAlignment = 16;
// TensorRT asks once, for the largest picture. A smaller one may be cut into more parts, up to
// twice as many: a plan fills half of the parts that it may have, or more.
constexpr size_t kSmallerNeeds = 2;

plan::Dtype dtype_of(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kHALF: return plan::Dtype::kFp16;
        case nvinfer1::DataType::kINT8: return plan::Dtype::kInt8;
        default: return plan::Dtype::kFp32;
    }
}

plan::Layout layout_of(Layout layout) {
    switch (layout) {
        case Layout::kNhwc: return plan::Layout::kNhwc;
        case Layout::kChw32: return plan::Layout::kChw32;
        default: return plan::Layout::kNchw;
    }
}

plan::Plan plan_of(Problem const& problem, Settings const& settings, bool aligned) {
    plan::Form form;
    form.dtype = dtype_of(problem.type);
    form.layout = layout_of(problem.layout);
    form.weights = dtype_of(problem.weights);
    form.scales[0] = settings.features_scale;
    form.scales[1] = settings.logits_scale;
    form.scales[2] = settings.output_scale;
    form.aligned = aligned;
    return problem.op == Operator::kJunctionVote
               ? plan::junction_vote(problem.n, problem.channels, problem.branches, problem.height,
                                     problem.width, form)
               : plan::attention(problem.n, problem.channels, problem.squeeze, problem.height,
                                 problem.width, problem.maps, form);
}

// The value of one parameter of a kernel; the driver copies as many bytes as the kernel takes.
union Value {
    void const* address;
    std::int32_t int32;
    std::int64_t int64;
    float float32;
};

Value value_of(plan::Argument const& argument, void const* const* inputs, void* output,
               void* workspace) {
    Value value{};
    switch (argument.kind) {
        case plan::Argument::Kind::kPointer: {
            void const* const base = argument.buffer == plan::kOutput      ? output
                                     : argument.buffer == plan::kWorkspace ? workspace
                                                                           : inputs[argument.buffer];
            value.address = static_cast<char const*>(base) + argument.integer;
            break;
        }
        case plan::Argument::Kind::kInt32:
            value.int32 = static_cast<std::int32_t>(argument.integer);
            break;
        case plan::Argument::Kind::kInt64: value.int64 = argument.integer; break;
        case plan::Argument::Kind::kFloat32: value.float32 = argument.real; break;
    }
    return value;
}

bool is_aligned(void const* address) {
    return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

Extent extent_of(plan::Dimensions const& size) { return {size.x, size.y, size.z}; }

}  // namespace

size_t workspace_of(Problem const& problem, Settings const& settings) {
    return kSmallerNeeds * plan_of(problem, settings, true).workspace;
}

Prepared::Prepared(Problem const& problem, Settings const& settings)
    : problem_(problem),
      kernels_(kernels_of_current_context()),
      aligned_(way(true, settings)),
      any_(way(false, settings)) {}

Prepared::Way Prepared::way(bool aligned, Settings const& settings) const {
    Way found{plan_of(problem_, settings, aligned), {}};
    for (plan::Launch const& launch : found.plan.launches)
        found.functions.push_back(kernels_->find(launch.kernel.c_str()));
    return found;
}

void Prepared::queue(void const* const* inputs, void* output, void* workspace,
                     CUstream stream) const {
    bool aligned = is_aligned(output) && is_aligned(workspace);
    for (int32_t i = 0; i < input_count(problem_.op); ++i) aligned = aligned && is_aligned(inputs[i]);
    Way const& way = aligned ? aligned_ : any_;
    for (size_t i = 0; i < way.functions.size(); ++i) {
        plan::Launch const& step = way.plan.launches[i];
        std::vector<Value> values;
        std::vector<void*> pointers;
        values.reserve(step.arguments.size());  // pointers into it stay
        for (plan::Argument const& argument : step.arguments) {
            values.push_back(value_of(argument, inputs, output, workspace));
            pointers.push_back(&values.back());
        }
        launch(way.functions[i], extent_of(step.grid), extent_of(step.block), step.shared, stream,
               pointers.data());
    }
}

}  // namespace acf::plugin
