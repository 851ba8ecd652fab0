# The kernels' machine code as a generated source: by nvcc, or by NVRTC through the package
# acf_edge. Machine code has to be no newer than the driver that loads it: for JetPack 6.2 use nvcc
# or NVRTC 12.6.
set(_kernels "${CMAKE_CURRENT_SOURCE_DIR}/..")
set(ACF_EMBEDDED "${CMAKE_CURRENT_BINARY_DIR}/embedded_kernels.cpp")
file(GLOB _kernel_sources CONFIGURE_DEPENDS "${_kernels}/*.cu" "${_kernels}/acf/*.cuh"
  "${_kernels}/acf/*.h")

set(_by "${ACF_KERNELS}")
if(_by STREQUAL "auto")
  if(ACF_NVCC)
    set(_by nvcc)
  else()
    set(_by nvrtc)
  endif()
endif()
string(REPLACE ";" "," _sms "${ACF_SMS}")

set(_compiler_version "")
if(_by STREQUAL "nvcc")
  if(NOT ACF_NVCC)
    message(FATAL_ERROR "ACF_KERNELS is nvcc, but nvcc was not found: set CUDA_HOME or PATH.")
  endif()
  execute_process(COMMAND "${ACF_NVCC}" --version OUTPUT_VARIABLE _said ERROR_QUIET)
  if(_said MATCHES "release ([0-9]+\\.[0-9]+)")
    set(_compiler_version "${CMAKE_MATCH_1}")
  endif()
  add_custom_command(OUTPUT "${ACF_EMBEDDED}"
    COMMAND "${CMAKE_COMMAND}" -E env "NVCC=${ACF_NVCC}" sh
      "${CMAKE_CURRENT_SOURCE_DIR}/embed_nvcc.sh" "${ACF_EMBEDDED}" "${_sms}"
    DEPENDS ${_kernel_sources} "${CMAKE_CURRENT_SOURCE_DIR}/embed_nvcc.sh"
    COMMENT "Kernels by nvcc (${ACF_NVCC})" VERBATIM)
elseif(_by STREQUAL "nvrtc")
  if(NOT Python3_FOUND)
    message(FATAL_ERROR "There is neither nvcc nor a Python 3 with acf_edge to compile the kernels.")
  endif()
  # This folder's package, where it stands in the repository; else the one that is installed.
  set(_python "${CMAKE_COMMAND}" -E env "PYTHONPATH=${_kernels}/..:$ENV{PYTHONPATH}"
    "${Python3_EXECUTABLE}")
  execute_process(COMMAND ${_python} -c "from acf_edge.cuda.nvrtc import SMS, supported, version\n\
print('.'.join(map(str, version())), ','.join(s for s in SMS if s in supported()))"
    OUTPUT_VARIABLE _said ERROR_VARIABLE _problem RESULT_VARIABLE _status
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT _status EQUAL 0)
    message(FATAL_ERROR "NVRTC does not run with ${Python3_EXECUTABLE}:\n${_problem}"
      "Take another Python with -DPython3_EXECUTABLE=..., or install nvcc.")
  endif()
  string(REPLACE " " ";" _said "${_said}")
  list(GET _said 0 _compiler_version)
  if(NOT _sms)
    list(GET _said 1 _sms)
  endif()
  add_custom_command(OUTPUT "${ACF_EMBEDDED}"
    COMMAND ${_python} -m acf_edge.cuda embed "${ACF_EMBEDDED}" --sm "${_sms}"
    DEPENDS ${_kernel_sources}
    COMMENT "Kernels by NVRTC (${Python3_EXECUTABLE})" VERBATIM)
else()
  message(FATAL_ERROR "ACF_KERNELS is '${ACF_KERNELS}': nvcc, nvrtc or auto.")
endif()

# The first TensorRT for CUDA 13 is 10.13: with an older one, the driver is likely one of CUDA 12.
message(STATUS "Kernels by ${_by} ${_compiler_version}")
if(_compiler_version VERSION_GREATER_EQUAL 13 AND ACF_TENSORRT_FOUND_VERSION VERSION_LESS 10.13)
  message(WARNING "The kernels are made by ${_by} ${_compiler_version}, and TensorRT "
    "${ACF_TENSORRT_FOUND_VERSION} runs with CUDA 12 (JetPack 6): its driver refuses newer code. "
    "Take nvcc or NVRTC 12.6 for such a board.")
endif()
