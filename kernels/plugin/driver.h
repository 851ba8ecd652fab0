// The few calls of CUDA's driver that the plugin needs, found at run time: neither libcuda nor
// libcudart is linked, so that one build serves every CUDA version and cross-builds without CUDA.
#pragma once

#include <cuda.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace acf::plugin {

// What went wrong, with the way out. A message, not a status: nobody here can mend it.
class CudaFailure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The embedded kernels, loaded into one CUDA context. Immutable: any thread may launch from it.
class LoadedKernels {
public:
    // Throws CudaFailure: no code for this GPU, or the driver refused it.
    LoadedKernels();

    // The function of that name, in memory: it can be launched while a stream is captured.
    // Throws CudaFailure: the embedded code has no such kernel.
    CUfunction find(char const* name) const;

private:
    CUmodule module_{nullptr};
};

// The kernels in the context that is current on this thread; loaded at the first call for that
// context and kept while the process lives.
// Throws CudaFailure.
std::shared_ptr<LoadedKernels const> kernels_of_current_context();

struct Extent {
    unsigned x{1}, y{1}, z{1};
};

// Queues one kernel and allocates nothing: a capturing stream records it. Throws CudaFailure.
void launch(CUfunction function, Extent grid, Extent block, unsigned shared_bytes, CUstream stream,
            void** arguments);

}  // namespace acf::plugin
