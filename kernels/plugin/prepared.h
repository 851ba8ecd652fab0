// A problem with its launch plan and the functions that the plan names: ready to be queued.
#pragma once

#include "driver.h"
#include "tensors.h"

#include "acf/plan.h"

#include <vector>

namespace acf::plugin {

// Bytes of scratch memory. Throws std::invalid_argument: sizes that the kernels do not take.
size_t workspace_of(Problem const& problem, Settings const& settings);

class Prepared {
public:
    // Throws std::invalid_argument as workspace_of(), CudaFailure where the kernels cannot be loaded.
    Prepared(Problem const& problem, Settings const& settings);

    Problem const& problem() const noexcept { return problem_; }

    // Queues the kernels and returns. Throws CudaFailure.
    void queue(void const* const* inputs, void* output, void* workspace, CUstream stream) const;

private:
    struct Way {
        acf::plan::Plan plan;
        std::vector<CUfunction> functions;  // one per launch
    };
    Way way(bool aligned, Settings const& settings) const;

    Problem const problem_;
    std::shared_ptr<LoadedKernels const> const kernels_;
    Way const aligned_;  // every buffer begins on 16 bytes, as allocations do
    Way const any_;
};

}  // namespace acf::plugin
