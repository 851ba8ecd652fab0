// A libnvinfer that has a registry of plugins and nothing else, under the real Python bindings.
//
// What Python registers is handed on through getCreators(), as a plugin library does it: so
// plugin_host.cpp, in the same process, walks plugins that are written in Python.
#include <NvInferRuntime.h>

#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

class Registry final : public IPluginRegistry {
public:
    void setErrorRecorder(IErrorRecorder*) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
    bool isParentSearchEnabled() const override { return false; }
    void setParentSearchEnabled(bool) override {}
    PluginLibraryHandle loadLibrary(AsciiChar const*) noexcept override { return nullptr; }
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
    bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const*) noexcept override {
        auto const& made = static_cast<IPluginCreatorV3One&>(creator);
        if (std::string(creator.getInterfaceInfo().kind) != "PLUGIN CREATOR_V3ONE") return false;
        std::string const name = made.getPluginName();
        if (getCreator(name.c_str(), "1", "acf") != nullptr) return false;
        creators_.push_back(&creator);
        return true;
    }
    IPluginCreatorInterface* const* getAllCreators(int32_t* count) const noexcept override {
        *count = static_cast<int32_t>(creators_.size());
        return creators_.data();
    }
    IPluginCreatorInterface* getCreator(AsciiChar const* name, AsciiChar const* version,
                                        AsciiChar const* space) noexcept override {
        for (IPluginCreatorInterface* creator : creators_) {
            auto* const found = static_cast<IPluginCreatorV3One*>(creator);
            if (std::string(found->getPluginName()) == name &&
                std::string(found->getPluginVersion()) == version &&
                std::string(found->getPluginNamespace()) == space)
                return creator;
        }
        return nullptr;
    }
    bool deregisterCreator(IPluginCreatorInterface const& creator) noexcept override {
        for (auto at = creators_.begin(); at != creators_.end(); ++at)
            if (*at == &creator) {
                creators_.erase(at);
                return true;
            }
        return false;
    }
    IPluginResource* acquirePluginResource(AsciiChar const*, IPluginResource*) noexcept override {
        return nullptr;
    }
    int32_t releasePluginResource(AsciiChar const*) noexcept override { return 0; }
#if NV_TENSORRT_MAJOR == 10
    bool registerCreator(IPluginCreator&, AsciiChar const*) noexcept override { return false; }
    IPluginCreator* const* getPluginCreatorList(int32_t* count) const noexcept override {
        *count = 0;
        return nullptr;
    }
    IPluginCreator* getPluginCreator(AsciiChar const*, AsciiChar const*,
                                     AsciiChar const*) noexcept override {
        return nullptr;
    }
    bool deregisterCreator(IPluginCreator const&) noexcept override { return false; }
#endif
#if NV_TENSORRT_MAJOR > 10 || NV_TENSORRT_MINOR >= 9
    IPluginCreatorInterface* const* getAllCreatorsRecursive(int32_t* count) noexcept override {
        return getAllCreators(count);
    }
#endif

private:
    std::vector<IPluginCreatorInterface*> creators_;
};

Registry& the_registry() {
    static auto* const registry = new Registry;
    return *registry;
}

}  // namespace

extern "C" {
// What the bindings want of libnvinfer, libnvinfer_plugin and libnvonnxparser.
void* createInferBuilder_INTERNAL(void*, int32_t) { return nullptr; }
void* createInferRefitter_INTERNAL(void*, void*, int32_t) { return nullptr; }
void* createInferRuntime_INTERNAL(void*, int32_t) { return nullptr; }
void* createNvOnnxParserRefitter_INTERNAL(void*, void*, int32_t) { return nullptr; }
void* createNvOnnxParser_INTERNAL(void*, void*, int32_t) { return nullptr; }
void* getBuilderPluginRegistry(int32_t) { return nullptr; }
int32_t getNvOnnxParserVersion() { return 0; }
IPluginRegistry* getPluginRegistry() noexcept { return &the_registry(); }
bool initLibNvInferPlugins(void*, char const*) { return true; }

// What plugin_host.cpp wants of a plugin library.
IPluginCreatorInterface* const* getCreators(int32_t& count) {
    return the_registry().getAllCreators(&count);
}
void setLoggerFinder(ILoggerFinder*) {}
char const* acfPluginDescription() { return "Python"; }
}
