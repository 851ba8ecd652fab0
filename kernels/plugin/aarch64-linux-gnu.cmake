# Cross-build for Jetson on a PC: cmake -DCMAKE_TOOLCHAIN_FILE=aarch64-linux-gnu.cmake ...
# Needs g++-aarch64-linux-gnu (Debian, Ubuntu) and nothing else: neither CUDA nor TensorRT is linked.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Programs are the PC's, headers may be anywhere: CUDA's and TensorRT's are the same on both.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
