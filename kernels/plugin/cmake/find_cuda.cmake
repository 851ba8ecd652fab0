# CUDA's headers (cuda.h, cuda_runtime_api.h) and, if it is there, nvcc. No library is needed.
# The headers come from a toolkit or from the wheels nvidia-cuda-runtime and nvidia-cuda-crt.
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
# The wheel is whole only with that of crt/ beside it.
set(ACF_CUDA_INCLUDE "" CACHE PATH "Folder with cuda.h and cuda_runtime_api.h")
foreach(_folder ${_hints} ${_toolkits} ${_wheels})
  if(NOT ACF_CUDA_INCLUDE AND EXISTS "${_folder}/cuda.h" AND EXISTS
     "${_folder}/cuda_runtime_api.h" AND EXISTS "${_folder}/crt/host_defines.h")
    set(ACF_CUDA_INCLUDE "${_folder}" CACHE PATH "Folder with cuda.h and cuda_runtime_api.h" FORCE)
  endif()
endforeach()
if(NOT ACF_CUDA_INCLUDE)
  message(FATAL_ERROR "CUDA's headers were not found. Install a CUDA toolkit, set CUDA_HOME or "
    "ACF_CUDA_INCLUDE, or: pip install nvidia-cuda-runtime nvidia-cuda-crt")
endif()
