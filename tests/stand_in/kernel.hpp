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

/* Of the last run, where steps are counted (STAND_IN_STEPS): the basic blocks of all threads, of the
 * thread that has most of each block, and barriers; added up over the blocks, and the greatest. */
struct Steps {
    unsigned long long all, longest, barriers;
};

struct Kernel {
    const char *name;
    int number; /* of parameters, whose sizes in bytes follow */
    const size_t *sizes;
    void (*run)(const Shape &shape, void **values);
    const Steps *steps;
};

} /* namespace stand_in */
