// Walks one plugin through its life as TensorRT does: creator, creation, clone, types, shapes,
// formats, configuration, workspace, serialized fields, creation from them, context, launches.
//
//   plugin_host LIBRARY op=NAME field=NAME:TYPE:VALUE ... in=TYPE:FORMAT:DIMS[:FILE[:SHIFT]] ...
//               out=TYPE:FORMAT:DIMS[:FILE:BYTES[:SHIFT]] [profile=HxW] [stop=created|built]
//               [trt=LIBRARY] [cuda=LIBRARY] [runs=N] [early=1: captures while code is loaded]
//
// One line per step on standard output. Memory of the "GPU" is this process's; every buffer stands
// between guards. What is handed over is spoilt as soon as TensorRT would have let go of it.
#include "plugin_host.h"
#include "plugin_memory.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

namespace {

using namespace nvinfer1;
using host::add_value;
using host::Buffer;
using host::dims_of;
using host::Fields;
using host::size_of;
using host::split;

struct Tensor {
    PluginTensorDesc desc{};
    std::string file;
    size_t bytes{0};
    size_t shift{0};
};

struct Case {
    std::string op, stop, trt, cuda;
    std::vector<std::string> fields;
    std::vector<Tensor> inputs, outputs;
    Dims profile{};
    int runs{2};
    bool early{false};
};

// NAME:TYPE:VALUE[:LENGTH]
void add_field(Fields& fields, std::string const& text) {
    auto const part = split(text, ':');
    int32_t const length = part.size() > 3 ? std::stoi(part[3]) : 1;
    std::string const& name = part.at(0);
    if (part.at(1) == "int32")
        add_value<int32_t>(fields, name, PluginFieldType::kINT32, std::stoi(part.at(2)), length);
    else if (part[1] == "int64")
        add_value<int64_t>(fields, name, PluginFieldType::kINT64, std::stoll(part.at(2)), length);
    else if (part[1] == "float32")
        add_value<float>(fields, name, PluginFieldType::kFLOAT32, std::stof(part.at(2)), length);
    else if (part[1] == "float64")
        add_value<double>(fields, name, PluginFieldType::kFLOAT64, std::stod(part.at(2)), length);
    else
        fields.add(name, PluginFieldType::kCHAR, length, "x", 1);
}

Tensor tensor_of(std::string const& text, bool is_input) {
    auto const part = split(text, ':');
    Tensor tensor;
    tensor.desc.type = host::type_named(part.at(0)).type;
    tensor.desc.format = host::format_named(part.at(1)).format;
    tensor.desc.dims = dims_of(part.at(2));
    if (part.size() > 3) tensor.file = part[3];
    size_t const next = is_input ? 4 : 5;
    if (!is_input && part.size() > 4) tensor.bytes = std::stoul(part[4]);
    if (part.size() > next) tensor.shift = std::stoul(part[next]);
    return tensor;
}

Case case_of(int count, char** words) {
    Case made;
    for (int i = 2; i < count; ++i) {
        std::string const word = words[i];
        std::string const key = word.substr(0, word.find('='));
        std::string const value = word.substr(word.find('=') + 1);
        if (key == "op") made.op = value;
        else if (key == "field") made.fields.push_back(value);
        else if (key == "in") made.inputs.push_back(tensor_of(value, true));
        else if (key == "out") made.outputs.push_back(tensor_of(value, false));
        else if (key == "profile") made.profile = dims_of(value);
        else if (key == "stop") made.stop = value;
        else if (key == "trt") made.trt = value;
        else if (key == "cuda") made.cuda = value;
        else if (key == "runs") made.runs = std::stoi(value);
        else if (key == "early") made.early = value == "1";
        else throw std::runtime_error("no key '" + key + "'");
    }
    return made;
}

void tell_fields(char const* step, PluginFieldCollection const* fields) {
    for (int32_t i = 0; i < fields->nbFields; ++i) {
        PluginField const& field = fields->fields[i];
        std::printf("%s %s %d %d ", step, field.name, static_cast<int>(field.type), field.length);
        size_t const bytes =
            field.data == nullptr ? 0 : size_of(field.type) * static_cast<size_t>(field.length);
        for (size_t at = 0; at < bytes; ++at)
            std::printf("%02x", static_cast<unsigned char const*>(field.data)[at]);
        std::printf("\n");
    }
}

DynamicPluginTensorDesc dynamic(Tensor const& tensor, Dims const& profile) {
    DynamicPluginTensorDesc made{tensor.desc, tensor.desc.dims, tensor.desc.dims,
                                 tensor.desc.dims};
    if (profile.nbDims == 2 && tensor.desc.dims.nbDims == 4)
        for (int32_t side : {0, 1}) {
            made.desc.dims.d[2 + side] = -1;
            made.min.d[2 + side] = 1;
            made.max.d[2 + side] = profile.d[side];
        }
    return made;
}

// Every combination that TensorRT would try, depth first; those accepted whole are told.
void tell_formats(IPluginV3OneBuild& build, std::vector<DynamicPluginTensorDesc>& tensors,
                  size_t position, int32_t inputs) {
    if (position == tensors.size()) {
        std::printf("combination");
        for (auto const& tensor : tensors) {
            for (auto const& type : host::kTypes)
                if (type.type == tensor.desc.type) std::printf(" %s", type.name);
            for (auto const& format : host::kFormats)
                if (format.format == tensor.desc.format) std::printf("/%s", format.name);
        }
        std::printf("\n");
        return;
    }
    PluginTensorDesc const kept = tensors[position].desc;
    for (auto const& type : host::kTypes)
        for (auto const& format : host::kFormats) {
            tensors[position].desc.type = type.type;
            tensors[position].desc.format = format.format;
            // What comes later is not decided yet: a plugin that looks there reads nonsense.
            for (size_t later = position + 1; later < tensors.size(); ++later) {
                tensors[later].desc.type = static_cast<DataType>(99);
                tensors[later].desc.format = static_cast<TensorFormat>(99);
            }
            if (build.supportsFormatCombination(static_cast<int32_t>(position), tensors.data(),
                                                inputs, 1))
                tell_formats(build, tensors, position + 1, inputs);
        }
    tensors[position].desc = kept;
}

void tell_shapes(IPluginV3OneBuild& build, Case const& given) {
    host::Expressions builder;
    char const* const names[] = {"n", "c", "h", "w"};
    std::vector<DimsExprs> inputs;
    for (Tensor const& tensor : given.inputs) {
        DimsExprs dims{};
        dims.nbDims = tensor.desc.dims.nbDims;
        for (int32_t axis = 0; axis < dims.nbDims; ++axis)
            dims.d[axis] = axis >= 2 && given.profile.nbDims == 2
                               ? builder.symbol(names[axis])
                               : builder.number(tensor.desc.dims.d[axis]);
        inputs.push_back(dims);
    }
    DimsExprs output{};
    int32_t const status = build.getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()),
                                                 nullptr, 0, &output, 1, builder);
    std::printf("shapes %d", status);
    for (int32_t axis = 0; status == 0 && axis < output.nbDims; ++axis)
        std::printf(" %s", static_cast<host::Expression const*>(output.d[axis])->words().c_str());
    std::printf("\n");
}

// -> the workspace's size, or -1 where the plugin refused a step.
int64_t walk_build(IPluginV3& plugin, Case const& given) {
    auto& core = *static_cast<IPluginV3OneCore*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kCORE));
    auto& build = *static_cast<IPluginV3OneBuild*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kBUILD));
    std::printf("core %s %s %s outputs %d\n", core.getPluginName(), core.getPluginVersion(),
                core.getPluginNamespace(), build.getNbOutputs());
    auto const count = static_cast<int32_t>(given.inputs.size());
    std::vector<DataType> types;
    for (Tensor const& tensor : given.inputs) types.push_back(tensor.desc.type);
    DataType output_type{};
    int32_t status = build.getOutputDataTypes(&output_type, 1, types.data(), count);
    std::printf("types %d %d\n", status, status == 0 ? static_cast<int>(output_type) : -1);
    if (status != 0) return -1;
    tell_shapes(build, given);
    std::vector<DynamicPluginTensorDesc> tensors;
    for (Tensor const& tensor : given.inputs) tensors.push_back(dynamic(tensor, given.profile));
    for (Tensor const& tensor : given.outputs) tensors.push_back(dynamic(tensor, given.profile));
    auto tried = tensors;
    tell_formats(build, tried, 0, count);
    // Of the output, bounds need not be known.
    if (given.profile.nbDims == 2) tensors.back().max = tensors.back().desc.dims;
    status = build.configurePlugin(tensors.data(), count, tensors.data() + count, 1);
    std::printf("configure %d\n", status);
    if (status != 0) return -1;
    std::printf("tactics %d limit %d\n", build.getNbTactics(), build.getFormatCombinationLimit());
    std::printf("timing %s\n", build.getTimingCacheID());
    size_t const workspace =
        build.getWorkspaceSize(tensors.data(), count, tensors.data() + count, 1);
    std::printf("workspace %zu\n", workspace);
    return static_cast<int64_t>(workspace);
}

using Capture = void (*)(int);

int walk_runtime(IPluginV3& plugin, Case const& given, size_t workspace_bytes, Capture capture) {
    auto& runtime = *static_cast<IPluginV3OneRuntime*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    std::vector<PluginTensorDesc> inputs;
    std::vector<Buffer> buffers;
    std::vector<void const*> pointers;
    for (Tensor const& tensor : given.inputs) {
        auto const content = host::contents(tensor.file);
        buffers.emplace_back(content.size(), tensor.shift);
        std::memcpy(buffers.back().data(), content.data(), content.size());
        inputs.push_back(tensor.desc);
        pointers.push_back(buffers.back().data());
    }
    Tensor const& target = given.outputs.at(0);
    auto const count = static_cast<int32_t>(inputs.size());
    if (given.early) capture(1);
    int32_t status = runtime.onShapeChange(inputs.data(), count, &target.desc, 1);
    if (given.early) capture(0);
    std::printf("shape-change %d\n", status);
    if (status != 0) return 0;
    std::vector<char> first;
    for (int run = 0; run < given.runs; ++run) {
        Buffer output(target.bytes, target.shift);
        Buffer workspace(workspace_bytes, 0);
        // A workspace holds what others left: each time something else.
        std::memset(workspace.data(), run % 2 == 0 ? 0xFF : 0x3C, workspace_bytes);
        void* const outputs[] = {output.data()};
        std::printf("addresses %p %p", workspace.data(), outputs[0]);
        for (void const* pointer : pointers) std::printf(" %p", pointer);
        std::printf("\n");
        if (capture != nullptr) capture(1);
        status = runtime.enqueue(inputs.data(), &target.desc, pointers.data(), outputs,
                                 workspace.data(), nullptr);
        if (capture != nullptr) capture(0);
        std::printf("enqueue %d\n", status);
        if (status != 0) return 0;
        bool intact = output.intact() && workspace.intact();
        for (Buffer const& buffer : buffers) intact = intact && buffer.intact();
        std::printf("guards %s\n", intact ? "intact" : "BROKEN");
        std::vector<char> const found(output.data(), output.data() + output.bytes());
        if (run == 0) first = found;
        else std::printf("again %s\n", found == first ? "same" : "DIFFERS");
    }
    std::ofstream(target.file, std::ios::binary)
        .write(first.data(), static_cast<std::streamsize>(first.size()));
    return 0;
}

int walk(char const* library, Case const& given) {
    if (!given.trt.empty() && dlopen(given.trt.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
        throw std::runtime_error(dlerror());
    Capture capture = nullptr;
    if (!given.cuda.empty()) {
        void* const cuda = dlopen(given.cuda.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (cuda == nullptr) throw std::runtime_error(dlerror());
        capture = reinterpret_cast<Capture>(dlsym(cuda, "standInCapture"));
    }
    void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    auto const creators_of = reinterpret_cast<IPluginCreatorInterface* const* (*)(int32_t&)>(
        dlsym(handle, "getCreators"));
    auto const set_finder =
        reinterpret_cast<void (*)(ILoggerFinder*)>(dlsym(handle, "setLoggerFinder"));
    auto const describe =
        reinterpret_cast<char const* (*)()>(dlsym(handle, "acfPluginDescription"));
    if (creators_of == nullptr || set_finder == nullptr || describe == nullptr)
        throw std::runtime_error("the library lacks a function that it must export");
    static host::Finder finder;
    set_finder(&finder);
    std::printf("description %s\n", describe());

    int32_t creator_count = 0;
    IPluginCreatorInterface* const* const creators = creators_of(creator_count);
    IPluginCreatorV3One* creator = nullptr;
    for (int32_t i = 0; i < creator_count; ++i) {
        auto* const found = static_cast<IPluginCreatorV3One*>(creators[i]);
        std::printf("creator %s %s %s %s\n", found->getInterfaceInfo().kind,
                    found->getPluginName(), found->getPluginVersion(),
                    found->getPluginNamespace());
        if (found->getPluginName() == given.op) creator = found;
    }
    if (creator == nullptr) throw std::runtime_error("no creator named '" + given.op + "'");
    tell_fields("advertises", creator->getFieldNames());

    std::unique_ptr<IPluginV3> first;
    {
        Fields fields;
        for (std::string const& field : given.fields) add_field(fields, field);
        first.reset(creator->createPlugin("node", fields.collection(), TensorRTPhase::kBUILD));
    }
    std::printf("created %s\n", first == nullptr ? "nothing" : "plugin");
    if (first == nullptr || given.stop == "created") return 0;
    std::unique_ptr<IPluginV3> plugin(first->clone());
    first.reset();
    int64_t const workspace = walk_build(*plugin, given);
    Fields written;
    auto* const runtime = static_cast<IPluginV3OneRuntime*>(
        plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    PluginFieldCollection const* const fields = runtime->getFieldsToSerialize();
    tell_fields("serialized", fields);
    for (int32_t i = 0; i < fields->nbFields; ++i) {
        PluginField const& field = fields->fields[i];
        written.add(field.name, field.type, field.length, field.data,
                    size_of(field.type) * static_cast<size_t>(field.length));
    }
    plugin.reset();
    if (workspace < 0 || given.stop == "built") return 0;
    std::unique_ptr<IPluginV3> read(
        creator->createPlugin("node", written.collection(), TensorRTPhase::kRUNTIME));
    std::printf("read %s\n", read == nullptr ? "nothing" : "plugin");
    std::unique_ptr<IPluginV3> attached(
        static_cast<IPluginV3OneRuntime*>(
            read->getCapabilityInterface(PluginCapabilityType::kRUNTIME))
            ->attachToContext(nullptr));
    read.reset();
    return walk_runtime(*attached, given, static_cast<size_t>(workspace), capture);
}

}  // namespace

int main(int count, char** words) {
    // A plugin that brings the process down has told until here.
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        return walk(words[1], case_of(count, words));
    } catch (std::exception const& error) {
        std::fprintf(stderr, "plugin_host: %s\n", error.what());
        return 2;
    }
}
