/* Modules and their kernels: shared libraries that `translate.py` has made of CUDA C. */

#include "stand_in.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

#include "kernel.hpp"

using stand_in::Kernel;

struct Module {
    const Kernel *kernels;
    int device;
};

struct Function {
    const Kernel *kernel;
    int device;
};

/* A line for each run: kernel, blocks, threads of a block, and its steps. */
static void tell_steps(const Kernel &kernel, const stand_in::Shape &shape)
{
    static const char *path = std::getenv("STAND_IN_STEPS");
    static std::FILE *file = path && *path ? std::fopen(path, "a") : nullptr;
    if (!file)
        return;
    const stand_in::Steps &steps = *kernel.steps;
    std::fprintf(
        file, "%s %u %u %llu %llu %llu\n", kernel.name, shape.grid.x * shape.grid.y * shape.grid.z,
        shape.block.x * shape.block.y * shape.block.z, steps.all, steps.longest, steps.barriers);
    std::fflush(file);
}

extern "C" {

CUresult cuGetErrorName(CUresult, const char **text)
{
    *text = "CUDA_ERROR_OF_THE_STAND_IN";
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult, const char **text)
{
    *text = "STAND_IN_LOG=1 tells why";
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = (CUcontext)(size_t)(current + 1);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    *device = current;
    return CUDA_SUCCESS;
}

/* The image is the path of a library. */
CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    void *library = dlopen((const char *)image, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        std::fprintf(stderr, "stand-in: %s\n", dlerror());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *module = (CUmodule) new Module{(const Kernel *)dlsym(library, "kernels"), current};
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module)
{
    delete (Module *)module; /* the library stays: work that uses it may be waiting */
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle, const char *name)
{
    Module *module = (Module *)handle;
    for (const Kernel *kernel = module->kernels; kernel->name; kernel++)
        if (!std::strcmp(kernel->name, name)) {
            *function = (CUfunction) new Function{kernel, module->device};
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction)
{
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(
    CUfunction handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared, CUstream on, void **given, void **)
{
    Hold hold(gate);
    Function *function = (Function *)handle;
    const Kernel *kernel = function->kernel;
    if (function->device != current)
        return (CUresult)fail(CUDA_ERROR_INVALID_CONTEXT, "a kernel of another device");
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || gy > 65535 || gz > 65535)
        return (CUresult)fail(CUDA_ERROR_INVALID_VALUE, "a grid that no device has");
    std::vector<std::vector<char>> values;
    for (int k = 0; k < kernel->number; k++)
        values.emplace_back((char *)given[k], (char *)given[k] + kernel->sizes[k]);
    stand_in::Shape shape = {{gx, gy, gz}, {bx, by, bz}, shared};
    return (CUresult)ask(stream_of(on), [kernel, shape, values]() mutable {
        std::vector<void *> places;
        for (auto &value : values)
            places.push_back(value.data());
        kernel->run(shape, places.data());
        tell_steps(*kernel, shape);
    });
}

} /* extern "C" */
