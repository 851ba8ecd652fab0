// Where the plugin's messages go: TensorRT's logger where it gave one, else standard error.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace acf::plugin {

enum class Severity { kError, kWarning, kInfo };

// Never throws: a message that cannot be made is dropped.
void report(Severity severity, std::string const& text) noexcept;

// What setLoggerFinder() hands over. Taken only from a TensorRT of the major version whose
// headers this was compiled with: the finder's layout changed in TensorRT 11.
void take_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// Major version of the classic TensorRT that this process has loaded; 0: none was found, -1: two.
int loaded_tensorrt_major() noexcept;

}  // namespace acf::plugin
