// What TensorRT looks for when it loads a library of plugins (IPluginRegistry::loadLibrary,
// trtexec --staticPlugins, get_plugin_registry().load_library in Python), and what the library
// says about itself. Nothing is registered when the library is merely opened.
#include "cubins.h"
#include "log.h"
#include "plugin.h"

#include <string>

// TensorRT's own TENSORRTAPI exports in its own build alone.
#define ACF_EXPORT extern "C" __attribute__((visibility("default")))

using acf::plugin::Creator;
using acf::plugin::Operator;

namespace {

std::string description() {
    std::string sms;
    for (int i = 0; i < acf::cubins::kImageCount; ++i)
        sms += (i == 0 ? "" : ", ") + std::to_string(acf::cubins::kImages[i].sm);
    return std::string("{\"namespace\": \"") + acf::plugin::kNamespace + "\", \"version\": \"" +
           acf::plugin::kVersion + "\", \"tensorrt\": \"" + std::to_string(NV_TENSORRT_MAJOR) +
           "." + std::to_string(NV_TENSORRT_MINOR) + "\", \"kernels\": \"" +
           acf::cubins::kKernelHash + "\", \"compiler\": \"" + acf::cubins::kCompiler +
           "\", \"sms\": [" + sms + "]}";
}

}  // namespace

ACF_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& nbCreators) {
    static Creator vote{Operator::kJunctionVote};
    static Creator attention{Operator::kChannelSpatialAttention};
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&vote, &attention};
    nbCreators = 2;
    return creators;
}

ACF_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
    acf::plugin::take_logger_finder(finder);
}

// One line of JSON: namespace, version, TensorRT's headers, hash of the kernels' sources, SMs.
ACF_EXPORT char const* acfPluginDescription() {
    static std::string const text = description();
    return text.c_str();
}
