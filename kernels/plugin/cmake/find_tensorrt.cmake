# TensorRT's headers: at TENSORRT_ROOT, on the system, or fetched from the public repository at the
# tag that matches ACF_TENSORRT_VERSION (or the TensorRT library that is installed).
set(TENSORRT_ROOT "$ENV{TENSORRT_ROOT}" CACHE PATH "Folder with TensorRT, or with its headers")
set(ACF_TENSORRT_VERSION "" CACHE STRING "Version whose headers to fetch, e.g. 10.3")
set(ACF_TENSORRT_REPOSITORY "https://github.com/NVIDIA/TensorRT.git" CACHE STRING
  "Where headers are fetched from")

# -> OUT: the version of the headers in FOLDER. Older ones write the numbers at once, newer ones
# by way of TRT_*_ENTERPRISE.
function(acf_tensorrt_version folder out)
  file(READ "${folder}/NvInferVersion.h" text)
  set(numbers "")
  foreach(part MAJOR MINOR PATCH)
    if(NOT text MATCHES "#define (NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE) +([0-9]+)")
      message(FATAL_ERROR "${folder}/NvInferVersion.h tells no version (${part})")
    endif()
    list(APPEND numbers "${CMAKE_MATCH_2}")
  endforeach()
  list(JOIN numbers "." version)
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

# -> OUT: the version of the TensorRT library that is installed, or nothing.
function(acf_installed_tensorrt out)
  set(version "")
  if(NOT CMAKE_CROSSCOMPILING)
    file(GLOB libraries "/usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu/libnvinfer.so.*.*.*"
      "/usr/lib/libnvinfer.so.*.*.*" "/usr/local/lib/libnvinfer.so.*.*.*")
    foreach(library IN LISTS libraries)
      if(library MATCHES "libnvinfer\\.so\\.([0-9]+\\.[0-9]+\\.[0-9]+)")
        set(version "${CMAKE_MATCH_1}")
      endif()
    endforeach()
  endif()
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

# -> OUT: the newest tag of the same major version that is not newer than VERSION.
function(acf_matching_tag git version out)
  execute_process(COMMAND "${git}" ls-remote --tags --refs "${ACF_TENSORRT_REPOSITORY}"
    OUTPUT_VARIABLE listed ERROR_VARIABLE problem RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "Cannot list ${ACF_TENSORRT_REPOSITORY}: ${problem}"
      "Point TENSORRT_ROOT at a TensorRT instead.")
  endif()
  string(REGEX MATCH "^[0-9]+" major "${version}")
  string(REGEX MATCHALL "refs/tags/v[0-9]+\\.[0-9]+(\\.[0-9]+)?" tags "${listed}")
  set(best "")
  foreach(tag IN LISTS tags)
    string(REPLACE "refs/tags/v" "" found "${tag}")
    # 10.3 takes 10.3.x: what a shorter version leaves open may be anything.
    set(same FALSE)
    if(found VERSION_EQUAL version OR "${found}." MATCHES "^${version}\\.")
      set(same TRUE)
    endif()
    if(found MATCHES "^${major}\\." AND (same OR found VERSION_LESS version)
       AND (best STREQUAL "" OR found VERSION_GREATER best))
      set(best "${found}")
    endif()
  endforeach()
  if(best STREQUAL "")
    message(FATAL_ERROR "${ACF_TENSORRT_REPOSITORY} has no tag for TensorRT ${version}. "
      "Point TENSORRT_ROOT at a TensorRT instead.")
  endif()
  set(${out} "v${best}" PARENT_SCOPE)
endfunction()

function(acf_fetch_tensorrt version out)
  find_program(ACF_GIT git)
  if(NOT ACF_GIT)
    message(FATAL_ERROR "TensorRT's headers are fetched with git, which is not installed.")
  endif()
  acf_matching_tag("${ACF_GIT}" "${version}" tag)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/tensorrt-${tag}")
  if(NOT EXISTS "${folder}/include/NvInfer.h")
    message(STATUS "Fetching TensorRT's headers ${tag} from ${ACF_TENSORRT_REPOSITORY}")
    file(REMOVE_RECURSE "${folder}")
    foreach(step
        "clone;--quiet;--depth;1;--filter=blob:none;--no-checkout;--branch;${tag};${ACF_TENSORRT_REPOSITORY};${folder}"
        "-C;${folder};sparse-checkout;set;include"
        "-C;${folder};-c;advice.detachedHead=false;checkout;--quiet;${tag}")
      execute_process(COMMAND "${ACF_GIT}" ${step} RESULT_VARIABLE status ERROR_VARIABLE problem
        OUTPUT_QUIET)
      if(NOT status EQUAL 0)
        file(REMOVE_RECURSE "${folder}")
        message(FATAL_ERROR "Fetching TensorRT's headers failed: ${problem}")
      endif()
    endforeach()
  endif()
  set(${out} "${folder}/include" PARENT_SCOPE)
endfunction()

set(_suffixes "" include "include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu"
  "targets/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu/include")
set(ACF_TENSORRT_INCLUDE "")
if(TENSORRT_ROOT)
  find_path(ACF_TENSORRT_AT_ROOT NvInfer.h PATHS "${TENSORRT_ROOT}" PATH_SUFFIXES ${_suffixes}
    NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
  if(NOT ACF_TENSORRT_AT_ROOT)
    message(FATAL_ERROR "TENSORRT_ROOT (${TENSORRT_ROOT}) has no NvInfer.h, nor has its include/.")
  endif()
  set(ACF_TENSORRT_INCLUDE "${ACF_TENSORRT_AT_ROOT}")
elseif(NOT ACF_TENSORRT_VERSION)
  find_path(ACF_TENSORRT_ON_SYSTEM NvInfer.h PATHS /usr /usr/local /usr/local/tensorrt
    /opt/tensorrt PATH_SUFFIXES ${_suffixes})
  if(ACF_TENSORRT_ON_SYSTEM)
    set(ACF_TENSORRT_INCLUDE "${ACF_TENSORRT_ON_SYSTEM}")
  else()
    acf_installed_tensorrt(ACF_TENSORRT_VERSION)
  endif()
endif()
if(NOT ACF_TENSORRT_INCLUDE)
  if(NOT ACF_TENSORRT_VERSION)
    message(FATAL_ERROR "TensorRT's headers were not found. Install them (libnvinfer-headers-dev), "
      "set -DTENSORRT_ROOT=..., or have them fetched: -DACF_TENSORRT_VERSION=10.3")
  endif()
  acf_fetch_tensorrt("${ACF_TENSORRT_VERSION}" ACF_TENSORRT_INCLUDE)
endif()

acf_tensorrt_version("${ACF_TENSORRT_INCLUDE}" ACF_TENSORRT_FOUND_VERSION)
if(ACF_TENSORRT_FOUND_VERSION VERSION_LESS 10.3)
  message(FATAL_ERROR "TensorRT ${ACF_TENSORRT_FOUND_VERSION} is too old: the plugin needs 10.3. "
    "Boards that stop below it run the model without plugins (acf-edge build --no-plugins).")
endif()
string(REGEX MATCH "^[0-9]+" ACF_TENSORRT_MAJOR "${ACF_TENSORRT_FOUND_VERSION}")
