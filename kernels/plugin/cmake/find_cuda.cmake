# CUDA's headers (cuda.h, cuda_runtime_api.h) and, if it is there, nvcc. No library is needed.
# The headers come from a toolkit or from the wheel nvidia-cuda-runtime.
find_program(ACF_NVCC nvcc PATHS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)

set(_hints "$ENV{CUDA_HOME}/include" "$ENV{CUDA_PATH}/include" /usr/local/cuda/include)
file(GLOB _toolkits "/usr/local/cuda-*/include")
list(SORT _toolkits COMPARE NATURAL ORDER DESCENDING)
find_package(Python3 COMPONENTS Interpreter QUIET)
set(_wheels "")
if(Python3_FOUND)
  execute_process(COMMAND "${Python3_EXECUTABLE}" -c "import importlib.util as u, pathlib as p\ns = \
u.find_spec('nvidia')\nprint(';'.join(str(f) for r in (s.submodule_search_locations if s else ()) \
for f in sorted(p.Path(r).glob('*/include'), reverse=True)))"
    OUTPUT_VARIABLE _wheels ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_path(ACF_CUDA_INCLUDE cuda_runtime_api.h HINTS ${_hints} PATHS ${_toolkits} ${_wheels}
  NO_CMAKE_FIND_ROOT_PATH)
if(NOT ACF_CUDA_INCLUDE OR NOT EXISTS "${ACF_CUDA_INCLUDE}/cuda.h")
  message(FATAL_ERROR "CUDA's headers were not found. Install a CUDA toolkit, set CUDA_HOME, or: "
    "pip install nvidia-cuda-runtime")
endif()
