#include "log.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdio>

namespace acf::plugin {

namespace {

std::atomic<nvinfer1::ILoggerFinder*> g_finder{nullptr};

nvinfer1::ILogger::Severity translated(Severity severity) noexcept {
    switch (severity) {
        case Severity::kError: return nvinfer1::ILogger::Severity::kERROR;
        case Severity::kWarning: return nvinfer1::ILogger::Severity::kWARNING;
        case Severity::kInfo: break;
    }
    return nvinfer1::ILogger::Severity::kINFO;
}

bool is_loaded(char const* library) noexcept {
    void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) return false;
    dlclose(handle);  // RTLD_NOLOAD counts as a use, too
    return true;
}

bool is_major_loaded(int major) noexcept {
    // The lean and the dispatch runtime load plugins as the full library does.
    char const* const forms[] = {"libnvinfer.so.%d", "libnvinfer_lean.so.%d",
                                 "libnvinfer_dispatch.so.%d"};
    for (char const* form : forms) {
        char name[64];
        std::snprintf(name, sizeof name, form, major);
        if (is_loaded(name)) return true;
    }
    return false;
}

}  // namespace

int loaded_tensorrt_major() noexcept {
    int found = 0;
    for (int major : {10, 11, 12}) {
        if (!is_major_loaded(major)) continue;
        if (found != 0) return -1;
        found = major;
    }
    return found;
}

void take_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept {
    bool const fits = loaded_tensorrt_major() == NV_TENSORRT_MAJOR;
    g_finder.store(fits ? finder : nullptr);
}

void report(Severity severity, std::string const& text) noexcept {
    try {
        std::string const line = "acf plugin: " + text;
        nvinfer1::ILoggerFinder* const finder = g_finder.load();
        nvinfer1::ILogger* const logger = finder == nullptr ? nullptr : finder->findLogger();
        if (logger != nullptr) {
            logger->log(translated(severity), line.c_str());
        } else if (severity != Severity::kInfo) {
            std::fprintf(stderr, "%s\n", line.c_str());
        }
    } catch (...) {
        // Out of memory while telling of something worse: nothing is left to tell with.
    }
}

}  // namespace acf::plugin
