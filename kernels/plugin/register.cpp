// Registers both creators when the library is opened. See acf_plugins_preload in CMakeLists.txt.
//
// The loader initializes libnvinfer first, since this library needs it by name. That name carries
// the major version, and within one the registry's layout is the same: another major version is
// never reached.
#include "fields.h"
#include "log.h"

#include <NvInferRuntime.h>

extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& nbCreators);

namespace {

__attribute__((constructor)) void register_creators() {
    using acf::plugin::report;
    using acf::plugin::Severity;
    nvinfer1::IPluginRegistry* const registry = getPluginRegistry();
    if (registry == nullptr) {
        report(Severity::kError, "this TensorRT has no plugin registry; nothing was registered");
        return;
    }
    int32_t count = 0;
    nvinfer1::IPluginCreatorInterface* const* const creators = getCreators(count);
    for (int32_t i = 0; i < count; ++i)
        if (!registry->registerCreator(*creators[i], acf::plugin::kNamespace))
            report(Severity::kWarning,
                   "a creator of the same name was registered before; that one is used");
}

}  // namespace
