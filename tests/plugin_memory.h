// Memory around a plugin: buffers between guards, fields that are spoilt when they are let go of.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace host {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

constexpr size_t kGuard = 4096;
constexpr unsigned char kGuardByte = 0xA5;

// Bytes between guards, `shift` bytes off an allocation's alignment.
class Buffer {
public:
    Buffer(size_t bytes, size_t shift) : bytes_(bytes), shift_(shift) {
        size_t const whole = (bytes + shift + 2 * kGuard + 255) / 256 * 256;
        memory_.reset(static_cast<unsigned char*>(std::aligned_alloc(256, whole)));
        std::memset(memory_.get(), kGuardByte, whole);
        whole_ = whole;
    }
    unsigned char* data() const { return memory_.get() + kGuard + shift_; }
    size_t bytes() const { return bytes_; }
    bool intact() const {
        auto const is_guard = [](unsigned char byte) { return byte == kGuardByte; };
        return std::all_of(memory_.get(), data(), is_guard) &&
               std::all_of(data() + bytes_, memory_.get() + whole_, is_guard);
    }

private:
    struct Free {
        void operator()(unsigned char* memory) const { std::free(memory); }
    };
    std::unique_ptr<unsigned char, Free> memory_;
    size_t bytes_, shift_, whole_{0};
};

// Fields whose names and data live in memory of their own, unaligned, spoilt at the end.
class Fields {
public:
    void add(std::string const& name, PluginFieldType type, int32_t length,
             void const* data, size_t size) {
        names_.emplace_back(name.begin(), name.end());
        names_.back().push_back('\0');
        data_.emplace_back(size + 1);
        if (size != 0) std::memcpy(data_.back().data() + 1, data, size);
        types_.push_back(type);
        lengths_.push_back(length);
        empty_.push_back(data == nullptr);
    }
    PluginFieldCollection const* collection() {
        fields_.clear();
        for (size_t i = 0; i < names_.size(); ++i)
            fields_.emplace_back(names_[i].data(), empty_[i] ? nullptr : data_[i].data() + 1,
                                 types_[i], lengths_[i]);
        collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
        return &collection_;
    }
    ~Fields() {
        for (auto& name : names_) std::fill(name.begin(), name.end() - 1, '?');
        for (auto& data : data_) std::fill(data.begin(), data.end(), static_cast<char>(0xEE));
    }

private:
    std::vector<std::vector<char>> names_, data_;
    std::vector<PluginFieldType> types_;
    std::vector<int32_t> lengths_;
    std::vector<bool> empty_;
    std::vector<PluginField> fields_;
    PluginFieldCollection collection_{};
};

inline size_t size_of(PluginFieldType type) {
    switch (type) {
        case PluginFieldType::kFLOAT64:
        case PluginFieldType::kINT64: return 8;
        case PluginFieldType::kFLOAT32:
        case PluginFieldType::kINT32: return 4;
        default: return 1;
    }
}

template <typename T>
void add_value(Fields& fields, std::string const& name, PluginFieldType type, T value,
               int32_t length) {
    std::vector<T> const values(static_cast<size_t>(std::max(length, 1)), value);
    fields.add(name, type, length, values.data(), values.size() * sizeof(T));
}

}  // namespace host
