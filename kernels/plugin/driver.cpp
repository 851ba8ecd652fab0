#include "driver.h"

#include "cubins.h"

#include <dlfcn.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <tuple>

namespace acf::plugin {

namespace {

constexpr char kLibrary[] = "libcuda.so.1";

// Names without a version suffix take the form that every driver since CUDA 11 has.
struct Driver {
    decltype(&cuGetErrorName) error_name{nullptr};
    decltype(&cuDriverGetVersion) version{nullptr};
    decltype(&cuCtxGetCurrent) current_context{nullptr};
    decltype(&cuCtxGetDevice) current_device{nullptr};
    decltype(&cuCtxGetId) context_id{nullptr};  // CUDA 12; without it, null
    decltype(&cuDeviceGetAttribute) device_attribute{nullptr};
    decltype(&cuModuleLoadData) load{nullptr};
    decltype(&cuModuleUnload) unload{nullptr};
    decltype(&cuModuleGetFunction) function{nullptr};
    decltype(&cuFuncGetAttribute) function_attribute{nullptr};
    decltype(&cuLaunchKernel) launch{nullptr};
    decltype(&cuThreadExchangeStreamCaptureMode) exchange_capture_mode{nullptr};
};

template <typename Function>
void find_in(void* library, char const* name, Function& function, bool needed = true) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr && needed)
        throw CudaFailure(std::string(kLibrary) + " lacks " + name +
                          ": update the NVIDIA driver to one of CUDA 11.8 or newer");
}

Driver open_driver() {
    void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw CudaFailure(std::string("no NVIDIA driver: ") + dlerror() +
                          " (in a container, start it with the NVIDIA runtime)");
    Driver found;
    find_in(library, "cuGetErrorName", found.error_name);
    find_in(library, "cuDriverGetVersion", found.version);
    find_in(library, "cuCtxGetCurrent", found.current_context);
    find_in(library, "cuCtxGetDevice", found.current_device);
    find_in(library, "cuCtxGetId", found.context_id, false);
    find_in(library, "cuDeviceGetAttribute", found.device_attribute);
    find_in(library, "cuModuleLoadData", found.load);
    find_in(library, "cuModuleUnload", found.unload);
    find_in(library, "cuModuleGetFunction", found.function);
    find_in(library, "cuFuncGetAttribute", found.function_attribute);
    find_in(library, "cuLaunchKernel", found.launch);
    find_in(library, "cuThreadExchangeStreamCaptureMode", found.exchange_capture_mode);
    return found;
}

// A failure is thrown again at the next call: a driver that comes later is found.
Driver const& driver() {
    static Driver const opened = open_driver();
    return opened;
}

std::string error_text(CUresult result) {
    char const* name = nullptr;
    if (driver().error_name(result, &name) != CUDA_SUCCESS || name == nullptr) name = "unknown";
    return std::string(name) + " (" + std::to_string(static_cast<int>(result)) + ")";
}

void demand(CUresult result, std::string const& what) {
    if (result != CUDA_SUCCESS) throw CudaFailure(what + " failed: " + error_text(result));
}

// While one lives, this thread may load code though it captures a stream: TensorRT captures while
// it times a plugin. What is loaded becomes no part of the capture.
class BesideCaptures {
public:
    BesideCaptures() {
        demand(driver().exchange_capture_mode(&mode_), "cuThreadExchangeStreamCaptureMode");
    }
    ~BesideCaptures() { driver().exchange_capture_mode(&mode_); }
    BesideCaptures(BesideCaptures const&) = delete;
    BesideCaptures& operator=(BesideCaptures const&) = delete;

private:
    CUstreamCaptureMode mode_{CU_STREAM_CAPTURE_MODE_RELAXED};  // then what it was before
};

int current_sm() {
    CUdevice device = 0;
    demand(driver().current_device(&device), "cuCtxGetDevice");
    int major = 0, minor = 0;
    demand(driver().device_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
           "cuDeviceGetAttribute");
    demand(driver().device_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
           "cuDeviceGetAttribute");
    return 10 * major + minor;
}

bool is_tegra(int sm) {
    constexpr int kTegra[] = {53, 62, 72, 87, 88, 101, 110};
    return std::find(std::begin(kTegra), std::end(kTegra), sm) != std::end(kTegra);
}

// Code for x.y runs on x.z with z >= y, but not from or to Tegra: there it has to be exact.
cubins::Image const* image_for(int sm) {
    cubins::Image const* best = nullptr;
    for (int i = 0; i < cubins::kImageCount; ++i) {
        cubins::Image const& image = cubins::kImages[i];
        if (image.sm == sm) return &image;
        bool const near = !is_tegra(sm) && !is_tegra(image.sm) && image.sm / 10 == sm / 10;
        if (near && image.sm < sm && (best == nullptr || image.sm > best->sm)) best = &image;
    }
    return best;
}

std::string embedded_sms() {
    std::string text;
    for (int i = 0; i < cubins::kImageCount; ++i)
        text += (i == 0 ? "" : ", ") + std::to_string(cubins::kImages[i].sm);
    return text;
}

std::string driver_text() {
    int version = 0;
    if (driver().version(&version) != CUDA_SUCCESS) return "of unknown version";
    return "for CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// A kernel's name -> a function that is in memory. Asking for an attribute makes the driver load
// it now, where lazy loading would do so at the first launch: too late while a stream is captured.
CUfunction loaded_function(CUmodule module, char const* name) {
    BesideCaptures const relaxed;
    CUfunction function = nullptr;
    CUresult const result = driver().function(&function, module, name);
    if (result != CUDA_SUCCESS)
        throw CudaFailure(std::string("the embedded code has no kernel '") + name +
                          "': " + error_text(result) + "; build the plugin again");
    int threads = 0;
    demand(driver().function_attribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function),
           "cuFuncGetAttribute");
    return function;
}

}  // namespace

LoadedKernels::LoadedKernels() {
    int const sm = current_sm();
    cubins::Image const* const image = image_for(sm);
    if (image == nullptr)
        throw CudaFailure("no kernels for SM " + std::to_string(sm) + "; this build has " +
                          embedded_sms() + ": build it again with -DACF_SMS=" +
                          std::to_string(sm));
    BesideCaptures const relaxed;
    CUresult const result = driver().load(&module_, image->data);
    if (result != CUDA_SUCCESS)
        throw CudaFailure("the driver (" + driver_text() + ") refused the kernels for SM " +
                          std::to_string(image->sm) + " that " + cubins::kCompiler +
                          " made: " + error_text(result) +
                          "; build the plugin with a compiler no newer than the driver");
}

CUfunction LoadedKernels::find(char const* name) const { return loaded_function(module_, name); }

std::shared_ptr<LoadedKernels const> kernels_of_current_context() {
    // By the context's id as well as its address: a reset device gets a new context, which may
    // stand where the old one stood, and the old one's modules are gone with it.
    using Key = std::tuple<CUcontext, unsigned long long>;
    static std::mutex guard;
    static std::map<Key, std::shared_ptr<LoadedKernels const>> loaded;

    CUcontext context = nullptr;
    demand(driver().current_context(&context), "cuCtxGetCurrent");
    if (context == nullptr) throw CudaFailure("no CUDA context is current on this thread");
    unsigned long long id = 0;
    if (driver().context_id != nullptr) demand(driver().context_id(context, &id), "cuCtxGetId");

    std::lock_guard<std::mutex> const lock(guard);
    std::shared_ptr<LoadedKernels const>& entry = loaded[Key(context, id)];
    if (entry == nullptr) entry = std::make_shared<LoadedKernels const>();
    return entry;
}

void launch(CUfunction function, Extent grid, Extent block, unsigned shared_bytes, CUstream stream,
            void** arguments) {
    demand(driver().launch(function, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                           shared_bytes, stream, arguments, nullptr),
           "cuLaunchKernel");
}

}  // namespace acf::plugin
