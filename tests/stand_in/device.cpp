/* The devices: as many as STAND_IN_DEVICES says, each with STAND_IN_BYTES of memory. */

#include "stand_in.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#define NAME "stand-in on the host"
#define CUDA 13000

thread_local int current = 0;
static thread_local cudaError_t last = cudaSuccess;

static size_t setting(const char *name, size_t otherwise)
{
    const char *given = std::getenv(name);
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

int devices()
{
    static int number = (int)setting("STAND_IN_DEVICES", 1);
    return number;
}

size_t device_bytes()
{
    static size_t bytes = setting("STAND_IN_BYTES", (size_t)8 << 30);
    return bytes;
}

cudaError_t fail(int error, const char *why)
{
    last = (cudaError_t)error;
    if (std::getenv("STAND_IN_LOG"))
        std::fprintf(stderr, "stand-in: error %d: %s\n", error, why);
    return last;
}

static long until_lost(int device)
{
    const char *given = std::getenv("STAND_IN_LOST");
    int number;
    long times;
    bool ours = given && std::sscanf(given, "%d:%ld", &number, &times) == 2 && number == device;
    return ours ? times : -1;
}

cudaError_t lost(int device)
{
    static std::map<int, long> left;
    auto found = left.find(device);
    if (found == left.end())
        found = left.insert({device, until_lost(device)}).first;
    if (found->second > 0)
        found->second--;
    return found->second ? cudaSuccess : fail(cudaErrorLaunchFailure, "the device is lost");
}

extern "C" {

cudaError_t cudaGetLastError()
{
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
    case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
    case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
    default: return "cudaErrorUnknown";
    }
}

const char *cudaGetErrorString(cudaError_t)
{
    return "said by the stand-in; STAND_IN_LOG=1 tells why";
}

cudaError_t cudaGetDeviceCount(int *number)
{
    *number = devices();
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= devices())
        return fail(cudaErrorInvalidDevice, "there is no such device");
    current = device;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDA;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDA;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 48 << 10; break;
    default: *value = 1;
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *found, int)
{
    std::memset(found, 0, sizeof *found);
    std::strcpy(found->name, NAME);
    found->major = 9;
    found->totalGlobalMem = device_bytes();
    found->multiProcessorCount = 132;
    found->warpSize = 32;
    found->maxThreadsPerBlock = 1024;
    found->sharedMemPerBlock = 48 << 10;
    return cudaSuccess;
}

CUresult cuInit(unsigned)
{
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
    return (CUresult)cudaDriverGetVersion(version);
}

CUresult cuDeviceGetCount(int *number)
{
    return (CUresult)cudaGetDeviceCount(number);
}

CUresult cuDeviceGet(CUdevice *device, int number)
{
    *device = number;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice)
{
    std::snprintf(name, size, NAME);
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice)
{
    *bytes = device_bytes();
    return CUDA_SUCCESS;
}

} /* extern "C" */
