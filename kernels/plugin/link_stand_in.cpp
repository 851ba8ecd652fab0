// What libacf_plugins_preload.so calls of libnvinfer, to link against where TensorRT is not
// installed. Never shipped: the real library has the same file name (soname) and is found instead.
#define ACF_EXPORT extern "C" __attribute__((visibility("default")))

ACF_EXPORT void* getPluginRegistry() noexcept { return nullptr; }
ACF_EXPORT int getInferLibVersion() noexcept { return 0; }
