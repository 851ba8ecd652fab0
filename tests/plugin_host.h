// What stands in for TensorRT around a plugin: descriptions of tensors, symbolic shapes, a logger.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace host {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

inline std::vector<std::string> split(std::string const& text, char at) {
    std::vector<std::string> parts;
    std::stringstream stream(text);
    for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
    return parts;
}

// An IDimensionExpr that is a number or a text; what is asked of it is told in words.
class Expression : public nvinfer1::IDimensionExpr, private nvinfer1::apiv::VDimensionExpr {
public:
    explicit Expression(int64_t value) : value_(value), constant_(true) { mImpl = this; }
    explicit Expression(std::string text) : text_(std::move(text)) { mImpl = this; }
    ~Expression() noexcept override = default;

    std::string words() const { return constant_ ? std::to_string(value_) : text_; }

private:
    bool isConstant() const override { return constant_; }
    int64_t getConstantValue() const override {
        if (!constant_) throw std::logic_error("asked a symbol for its value");
        return value_;
    }
    bool isSizeTensor() const override { return false; }

    int64_t value_{0};
    bool constant_{false};
    std::string text_;
};

class Expressions : public nvinfer1::IExprBuilder, private nvinfer1::apiv::VExprBuilder {
public:
    Expressions() { mImpl = this; }
    ~Expressions() noexcept override = default;

    nvinfer1::IDimensionExpr const* symbol(std::string const& text) {
        return keep(std::make_unique<Expression>(text));
    }
    nvinfer1::IDimensionExpr const* number(int64_t value) {
        return keep(std::make_unique<Expression>(value));
    }

private:
    nvinfer1::IDimensionExpr const* keep(std::unique_ptr<Expression> made) {
        kept_.push_back(std::move(made));
        return kept_.back().get();
    }
    nvinfer1::IDimensionExpr const* constant(int64_t value) override { return number(value); }
    nvinfer1::IDimensionExpr const* operation(nvinfer1::DimensionOperation op,
                                              nvinfer1::IDimensionExpr const& first,
                                              nvinfer1::IDimensionExpr const& second) override {
        if (op != nvinfer1::DimensionOperation::kFLOOR_DIV)
            throw std::logic_error("an operation that the stand-in does not know");
        if (first.isConstant() && second.isConstant())
            return number(first.getConstantValue() / second.getConstantValue());
        return symbol(static_cast<Expression const&>(first).words() + "/" +
                      static_cast<Expression const&>(second).words());
    }
    nvinfer1::IDimensionExpr const* declareSizeTensor(int32_t, nvinfer1::IDimensionExpr const&,
                                                      nvinfer1::IDimensionExpr const&) override {
        throw std::logic_error("no size tensor was expected");
    }

    std::vector<std::unique_ptr<Expression>> kept_;
};

class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, nvinfer1::AsciiChar const* text) noexcept override {
        std::printf("log %d %s\n", static_cast<int>(severity), text);
    }
};

class Finder : public nvinfer1::ILoggerFinder {
public:
    nvinfer1::ILogger* findLogger() override { return &logger_; }

private:
    Logger logger_;
};

struct TypeName {
    char const* name;
    DataType type;
    int bytes;
};
constexpr TypeName kTypes[] = {{"fp32", DataType::kFLOAT, 4},
                               {"fp16", DataType::kHALF, 2},
                               {"int8", DataType::kINT8, 1},
                               {"int32", DataType::kINT32, 4}};
inline TypeName const& type_named(std::string const& name) {
    for (TypeName const& type : kTypes)
        if (name == type.name) return type;
    throw std::runtime_error("no type '" + name + "'");
}

struct FormatName {
    char const* name;
    TensorFormat format;
};
constexpr FormatName kFormats[] = {
    {"linear", TensorFormat::kLINEAR}, {"hwc", TensorFormat::kHWC},
    {"hwc8", TensorFormat::kHWC8},     {"hwc16", TensorFormat::kHWC16},
    {"chw32", TensorFormat::kCHW32},   {"chw2", TensorFormat::kCHW2},
    {"chw4", TensorFormat::kCHW4},     {"chw16", TensorFormat::kCHW16}};
inline FormatName const& format_named(std::string const& name) {
    for (FormatName const& format : kFormats)
        if (name == format.name) return format;
    throw std::runtime_error("no format '" + name + "'");
}

inline nvinfer1::Dims dims_of(std::string const& text) {
    nvinfer1::Dims dims{};
    for (std::string const& part : split(text, 'x')) dims.d[dims.nbDims++] = std::stoll(part);
    return dims;
}

inline std::vector<char> contents(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read '" + path + "'");
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace host
