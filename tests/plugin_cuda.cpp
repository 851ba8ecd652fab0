// A libcuda.so.1 of a GPU that is not there: what the plugin asks of the driver, and no more.
//
// Tells every call on standard output. A launch copies its arguments at once and runs on the host
// (kernels/host). While standInCapture(1) holds, nothing may be loaded (as under a stream capture)
// and launches are only recorded; at standInCapture(0) they are replayed, twice.
//
// ACF_STAND_IN_SM, _DRIVER (13000), _NO_CONTEXT, _REFUSES say which GPU. ACF_STAND_IN_KERNELS
// names a file with one kernel a line: its name and the sizes of its parameters. ACF_STAND_IN_HOST
// names the library of the kernels built for the host; without it, launches are only told.
#include <cuda.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Kernel {
    std::string name;
    std::vector<size_t> sizes;
};

struct Launch {
    Kernel const* kernel;
    unsigned grid[3], block[3], shared;
    std::vector<std::vector<unsigned char>> arguments;
};

bool capturing = false;
CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;  // of the one thread
std::vector<Launch> recorded;

int setting(char const* name, int otherwise) {
    char const* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::atoi(text);
}

std::map<std::string, Kernel> const& kernels() {
    static std::map<std::string, Kernel> const known = [] {
        std::map<std::string, Kernel> found;
        char const* const path = std::getenv("ACF_STAND_IN_KERNELS");
        std::ifstream file(path == nullptr ? "" : path);
        for (std::string line; std::getline(file, line);) {
            std::stringstream words(line);
            Kernel kernel;
            words >> kernel.name;
            for (size_t size; words >> size;) kernel.sizes.push_back(size);
            found[kernel.name] = kernel;
        }
        return found;
    }();
    return known;
}

bool refused_now() { return capturing && capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED; }

CUresult while_capturing(char const* what) {
    std::printf("cuda %s WHILE CAPTURING\n", what);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

using HostLaunch = int (*)(char const* name, unsigned const* grid, unsigned const* block,
                           void** arguments, int const* sizes, int count, int shared, int order,
                           char* text, int capacity);

HostLaunch host_launch() {
    static HostLaunch const found = []() -> HostLaunch {
        char const* const path = std::getenv("ACF_STAND_IN_HOST");
        if (path == nullptr) return nullptr;
        void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        void* const symbol = library == nullptr ? nullptr : dlsym(library, "acf_host_launch");
        if (symbol == nullptr) std::printf("cuda kernel FAILED %s\n", dlerror());
        return reinterpret_cast<HostLaunch>(symbol);
    }();
    return found;
}

void run(Launch const& launch) {
    if (host_launch() == nullptr) return;
    std::vector<void*> pointers;
    std::vector<int> sizes;
    for (auto const& argument : launch.arguments) {
        pointers.push_back(const_cast<unsigned char*>(argument.data()));
        sizes.push_back(static_cast<int>(argument.size()));
    }
    char text[512] = "";
    if (host_launch()(launch.kernel->name.c_str(), launch.grid, launch.block, pointers.data(),
                      sizes.data(), static_cast<int>(sizes.size()),
                      static_cast<int>(launch.shared), setting("ACF_STAND_IN_ORDER", 0), text,
                      sizeof text) != 0)
        std::printf("cuda kernel FAILED %s\n", text);
}

void tell(Launch const& launch) {
    std::printf("launch %s %u %u %u %u %u %u %u ", launch.kernel->name.c_str(), launch.grid[0],
                launch.grid[1], launch.grid[2], launch.block[0], launch.block[1], launch.block[2],
                launch.shared);
    for (auto const& argument : launch.arguments) {
        std::printf("%s", &argument == &launch.arguments.front() ? "" : ",");
        for (unsigned char byte : argument) std::printf("%02x", byte);
    }
    std::printf("\n");
}

}  // namespace

#define STAND_IN extern "C" __attribute__((visibility("default")))

STAND_IN void standInCapture(int begin) {
    capturing = begin != 0;
    if (capturing) return;
    for (int replay = 0; replay < 2; ++replay)
        for (Launch const& launch : recorded) run(launch);
    recorded.clear();
}

STAND_IN CUresult cuGetErrorName(CUresult error, char const** name) {
    *name = error == CUDA_ERROR_NO_BINARY_FOR_GPU             ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
            : error == CUDA_ERROR_NOT_FOUND                   ? "CUDA_ERROR_NOT_FOUND"
            : error == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED  ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
                                                              : "CUDA_ERROR_INVALID_VALUE";
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuDriverGetVersion(int* version) {
    *version = setting("ACF_STAND_IN_DRIVER", 13000);
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = setting("ACF_STAND_IN_NO_CONTEXT", 0) ? nullptr : reinterpret_cast<CUcontext>(64);
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuCtxGetId(CUcontext, unsigned long long* id) {
    *id = 7;
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuCtxGetDevice(CUdevice* device) {
    *device = 0;
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    int const sm = setting("ACF_STAND_IN_SM", 87);
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = sm / 10; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = sm % 10; break;
        default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

// Machine code is an ELF file whose flags tell the SM: in the second byte, or (before CUDA 13) in
// the first. It runs on its own major version, from its own minor one on.
STAND_IN CUresult cuModuleLoadData(CUmodule* module, void const* image) {
    if (refused_now()) return while_capturing("cuModuleLoadData");
    auto const* const bytes = static_cast<unsigned char const*>(image);
    if (setting("ACF_STAND_IN_REFUSES", 0)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (std::memcmp(bytes, "\177ELF", 4) != 0) return CUDA_ERROR_INVALID_IMAGE;
    uint32_t flags;
    std::memcpy(&flags, bytes + 48, sizeof flags);
    int const made_for = bytes[8] >= 8 ? flags >> 8 & 0xff : flags & 0xff;
    int const sm = setting("ACF_STAND_IN_SM", 87);
    std::printf("cuda loads SM %d\n", made_for);
    if (made_for / 10 != sm / 10 || made_for > sm) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    *module = reinterpret_cast<CUmodule>(128);
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
    std::swap(*mode, capture_mode);
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

STAND_IN CUresult cuModuleGetFunction(CUfunction* function, CUmodule, char const* name) {
    if (refused_now()) return while_capturing("cuModuleGetFunction");
    auto const found = kernels().find(name);
    if (found == kernels().end()) return CUDA_ERROR_NOT_FOUND;
    *function = reinterpret_cast<CUfunction>(const_cast<Kernel*>(&found->second));
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction function) {
    if (refused_now()) return while_capturing("cuFuncGetAttribute");
    std::printf("cuda has in memory %s\n", reinterpret_cast<Kernel*>(function)->name.c_str());
    *value = 1024;
    return CUDA_SUCCESS;
}

STAND_IN CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                 unsigned grid_z, unsigned block_x, unsigned block_y,
                                 unsigned block_z, unsigned shared, CUstream, void** arguments,
                                 void** extra) {
    Launch launch{reinterpret_cast<Kernel*>(function), {grid_x, grid_y, grid_z},
                  {block_x, block_y, block_z}, shared, {}};
    bool const fits = extra == nullptr && grid_x > 0 && grid_y > 0 && grid_z > 0 &&
                      grid_x <= 2147483647u && grid_y <= 65535 && grid_z <= 65535 &&
                      block_x * block_y * block_z > 0 && block_x * block_y * block_z <= 1024 &&
                      block_z <= 64 && shared <= 49152;
    if (!fits) return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < launch.kernel->sizes.size(); ++i) {
        auto const* const from = static_cast<unsigned char const*>(arguments[i]);
        launch.arguments.emplace_back(from, from + launch.kernel->sizes[i]);
    }
    tell(launch);
    if (capturing) recorded.push_back(std::move(launch));
    else run(launch);
    return CUDA_SUCCESS;
}
