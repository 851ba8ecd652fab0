/* A libcuda.so.1 of a machine without a GPU: host memory, everything at once.
 * It is there to see what the true Python bindings make of our calls: which
 * functions they look up, and how arguments arrive in C. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long Address;
typedef unsigned int uint;

int cuInit(uint flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = 12060; return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char* name, int size, int device) { snprintf(name, size, "No GPU"); return 0; }
int cuDeviceTotalMem(size_t* bytes, int device) { *bytes = 1 << 30; return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? 1 : -1;
    return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = (void*)0xC0; return 0; }
int cuCtxSetCurrent(void* context) { return context == (void*)0xC0 ? 0 : 201; }
int cuCtxSynchronize(void) { return 0; }
int cuMemGetInfo(size_t* free, size_t* total) { *free = 7; *total = 1 << 30; return 0; }

int cuMemAlloc(Address* pointer, size_t size) {
    if (size > 1 << 30) return 2;
    *pointer = (Address)malloc(size);
    return 0;
}
int cuMemFree(Address pointer) { free((void*)pointer); return 0; }
int cuMemHostAlloc(void** address, size_t size, uint flags) {
    *address = malloc(size);
    return flags == 1 || flags == 3 ? 0 : 1;
}
int cuMemHostGetDevicePointer(Address* pointer, void* address, uint flags) {
    *pointer = (Address)address;
    return 0;
}
int cuMemFreeHost(void* address) { free(address); return 0; }
int cuMemcpyHtoDAsync(Address to, void const* from, size_t size, void* stream) {
    memcpy((void*)to, from, size);
    return stream ? 0 : 400;
}
int cuMemcpyDtoHAsync(void* to, Address from, size_t size, void* stream) {
    memcpy(to, (void*)from, size);
    return stream ? 0 : 400;
}
int cuMemcpyDtoDAsync(Address to, Address from, size_t size, void* stream) {
    memcpy((void*)to, (void*)from, size);
    return stream ? 0 : 400;
}
int cuMemsetD8Async(Address to, unsigned char value, size_t size, void* stream) {
    memset((void*)to, value, size);
    return 0;
}

int cuStreamCreateWithPriority(void** stream, uint flags, int priority) {
    *stream = (void*)(0x5000L + priority);
    return flags == 1 ? 0 : 1;
}
int cuStreamDestroy(void* stream) { return 0; }
int cuStreamSynchronize(void* stream) { return stream == (void*)0x4FFF ? 700 : 0; }
int cuStreamQuery(void* stream) { return stream == (void*)0x4FFE ? 600 : 0; }
int cuStreamWaitEvent(void* stream, void* event, uint flags) { return event == (void*)0xE0 ? 0 : 400; }
int cuEventCreate(void** event, uint flags) { *event = (void*)0xE0; return flags < 4 ? 0 : 1; }
int cuEventDestroy(void* event) { return 0; }
int cuEventRecord(void* event, void* stream) { return event == (void*)0xE0 ? 0 : 400; }
int cuEventQuery(void* event) { return 600; }
int cuEventSynchronize(void* event) { return 0; }
int cuEventElapsedTime(float* ms, void* start, void* end) { *ms = 1.5f; return 0; }

int cuModuleLoadData(void** module, void const* image) {
    *module = (void*)0xA0;
    return memcmp(image, "image", 5) ? 200 : 0;
}
int cuModuleUnload(void* module) { return 0; }
int cuModuleGetFunction(void** function, void* module, char const* name) {
    *function = (void*)0xF0;
    return strcmp(name, "add") ? 500 : 0;
}
int cuFuncGetAttribute(int* value, int attribute, void* function) {
    *value = 1024;
    return function == (void*)0xF0 && attribute == 0 ? 0 : 1;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
    return function == (void*)0xF0 && attribute == 8 && value == 65536 ? 0 : 1;
}
/* add(in, out, size, term): the one kernel. */
int cuLaunchKernel(void* function, uint gx, uint gy, uint gz, uint bx, uint by, uint bz,
                   uint shared, void* stream, void** parameters, void** extra) {
    if (function != (void*)0xF0 || gx != 2 || gy != 3 || gz != 4 || bx != 5 || by != 6 || bz != 7)
        return 1;
    if (shared != 65536 || stream == 0 || extra != 0) return 1;
    unsigned char const* in = *(unsigned char**)parameters[0];
    unsigned char* out = *(unsigned char**)parameters[1];
    for (int i = 0; i < *(int*)parameters[2]; ++i) out[i] = in[i] + *(int*)parameters[3];
    return 0;
}

int cuThreadExchangeStreamCaptureMode(int* mode) {
    static int now = 0;
    int before = now;
    now = *mode;
    *mode = before;
    return 0;
}
int cuStreamBeginCapture(void* stream, int mode) { return mode == 1 ? 0 : 1; }
int cuStreamEndCapture(void* stream, void** graph) { *graph = (void*)0xB0; return 0; }
int cuGraphGetNodes(void* graph, void** nodes, size_t* count) { *count = 3; return 0; }
int cuGraphInstantiateWithFlags(void** runnable, void* graph, unsigned long long flags) {
    *runnable = (void*)0xB8;
    return graph == (void*)0xB0 && flags == 0 ? 0 : 1;
}
int cuGraphInstantiate(void** runnable, void* graph, unsigned long long flags) {
    return cuGraphInstantiateWithFlags(runnable, graph, flags);
}
int cuGraphLaunch(void* runnable, void* stream) { return runnable == (void*)0xB8 ? 0 : 400; }
int cuGraphDestroy(void* graph) { return 0; }
int cuGraphExecDestroy(void* runnable) { return 0; }

int cuGetProcAddress_v2(char const* name, void** function, int version, unsigned long long flags,
                        int* status) {
    void* self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    *function = dlsym(self, name);
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;
}
int cuGetProcAddress(char const* name, void** function, int version, unsigned long long flags,
                     int* status) {
    return cuGetProcAddress_v2(name, function, version, flags, status);
}
