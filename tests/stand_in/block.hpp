/* Threads of a block, one after the other, each until it comes to a barrier: as many as were asked
 * for, forwards and backwards in turn. Included before the kernels of one source. */

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "kernel.hpp"

namespace stand_in {

static Sides threadIdx, blockIdx, blockDim, gridDim;

/* Go on with another stack where that was left; x86-64, System V. */
extern "C" void change_stack(void **left, void *entered);
asm(R"(
.text
.type change_stack,@function
change_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

struct Thread {
    void *stack; /* where it was left */
    char *memory;
    bool through;
};

#define STACK_BYTES (256 << 10)

static Thread threads[1024];
static void *of_all, *given_values, *shared_memory;
static void (*body)(void *);
static bool together, parted;
static int now, votes, counted, line_of_barrier;

static Steps steps;
static unsigned long long step, steps_of[1024];

/* GCC has it called at the start of every basic block of a source that is compiled to count steps. */
extern "C" __attribute__((visibility("hidden"), no_sanitize_coverage, used)) void
__sanitizer_cov_trace_pc()
{
    step++;
}

#define NOT_COUNTED __attribute__((noinline, no_sanitize_coverage))

static void complain(const char *what)
{
    std::fprintf(stderr, "stand-in: %s\n", what);
    std::abort();
}

static void leave_thread()
{
    change_stack(&threads[now].stack, of_all);
}

extern "C" __attribute__((noinline, used)) void begin_thread()
{
    body(given_values);
    threads[now].through = true;
    leave_thread();
    std::abort();
}

__attribute__((noinline)) static void at_barrier(int line)
{
    if (!together)
        complain("a barrier in a kernel that does not say that its threads work together");
    parted |= line_of_barrier && line_of_barrier != line;
    line_of_barrier = line;
    leave_thread();
}

__attribute__((noinline)) static int counted_at_barrier(int holds, int line)
{
    votes += holds != 0;
    at_barrier(line);
    return counted;
}

#define __syncthreads() stand_in::at_barrier(__LINE__)
#define __syncthreads_count(holds) stand_in::counted_at_barrier(holds, __LINE__)

static void choose_thread(unsigned number)
{
    threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y,
                 number / (blockDim.x * blockDim.y)};
}

static void new_stack(Thread &thread)
{
    if (!thread.memory)
        thread.memory = (char *)std::aligned_alloc(64, STACK_BYTES);
    void **top = (void **)(thread.memory + STACK_BYTES - 64);
    *--top = nullptr;
    *--top = (void *)begin_thread;
    thread.stack = top - 6; /* what change_stack takes off */
    thread.through = false;
}

/* A thread's part until it waits or is through, which `go_on` runs. */
template <class GoOn> NOT_COUNTED static void count_steps(int number, GoOn go_on)
{
    unsigned long long before = step;
    go_on();
    steps_of[number] += step - before;
}

NOT_COUNTED static void add_steps(int number, unsigned long long barriers)
{
    unsigned long long longest = 0;
    for (int k = 0; k < number; k++) {
        steps.all += steps_of[k];
        longest = steps_of[k] > longest ? steps_of[k] : longest;
        steps_of[k] = 0;
    }
    steps.longest = longest > steps.longest ? longest : steps.longest;
    steps.barriers = barriers > steps.barriers ? barriers : steps.barriers;
}

static void run_together(int number)
{
    unsigned long long barriers = 0;
    for (int k = 0; k < number; k++)
        new_stack(threads[k]);
    bool backwards = false;
    for (int left = number; left; backwards = !backwards) {
        int waiting = 0;
        line_of_barrier = votes = 0;
        for (int k = 0; k < number; k++) {
            now = backwards ? number - 1 - k : k;
            if (threads[now].through)
                continue;
            choose_thread(now);
            count_steps(now, [] { change_stack(&of_all, threads[now].stack); });
            threads[now].through ? left-- : waiting++;
        }
        if (parted)
            complain("threads wait at different barriers");
        if (waiting && waiting != number)
            complain("a thread left while others wait at a barrier");
        counted = votes;
        barriers += waiting > 0;
    }
    add_steps(number, barriers);
}

static void run_blocks(bool with_barriers, const Shape &shape, void (*kernel)(void *), void *values)
{
    unsigned number = shape.block.x * shape.block.y * shape.block.z;
    gridDim = shape.grid;
    blockDim = shape.block;
    together = with_barriers;
    body = kernel;
    given_values = values;
    steps = {};
    shared_memory = std::malloc(shape.shared + 1);
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                if (together) {
                    run_together(number);
                    continue;
                }
                for (unsigned k = 0; k < number; k++) {
                    choose_thread(k);
                    count_steps(k, [=] { kernel(values); });
                }
                add_steps(number, 0);
            }
    std::free(shared_memory);
}

/* Calls a kernel with values that lie at given places. */
template <class Kernel> struct Called;
template <class... Values> struct Called<void (*)(Values...)> {
    static constexpr int number = sizeof...(Values);
    static const size_t sizes[sizeof...(Values) + 1];

    struct Call {
        void (*kernel)(Values...);
        void **places;
    };

    template <size_t... K> static void with(Call *call, std::index_sequence<K...>)
    {
        call->kernel(*(Values *)call->places[K]...);
    }

    static void once(void *call) { with((Call *)call, std::index_sequence_for<Values...>()); }

    static void run(
        bool with_barriers, void (*kernel)(Values...), const Shape &shape, void **places)
    {
        Call call = {kernel, places};
        run_blocks(with_barriers, shape, once, &call);
    }
};
template <class... Values>
const size_t Called<void (*)(Values...)>::sizes[sizeof...(Values) + 1] = {sizeof(Values)..., 0};

} /* namespace stand_in */

using stand_in::blockDim; using stand_in::blockIdx; using stand_in::gridDim;
using stand_in::threadIdx;

template <class T, class U> T atomicAdd(T *place, U value)
{
    T old = *place;
    *place = old + (T)value;
    return old;
}

template <class T, class U> T atomicMax(T *place, U value)
{
    T old = *place;
    *place = old < (T)value ? (T)value : old;
    return old;
}
