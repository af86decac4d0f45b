/* How a kernel is found in a library of kernels, and run. */

#pragma once

#include <cstddef>

namespace stand_in {

struct Sides {
    unsigned x, y, z;
};

/* Blocks, threads of a block, and bytes of shared memory beyond what the kernel declares. */
struct Shape {
    Sides grid, block;
    unsigned shared;
};

struct Kernel {
    const char *name;
    int number; /* of parameters, whose sizes in bytes follow */
    const size_t *sizes;
    void (*run)(const Shape &shape, void **values);
};

} /* namespace stand_in */
