/* Threads of a block, one after the other, each until it comes to a barrier: as many as were asked
 * for, forwards and backwards in turn. Included before the kernels of one source. */

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

enum At { NOWHERE_YET, AT_WARP, AT_BARRIER, THROUGH };

struct Thread {
    void *stack; /* where it was left */
    char *memory;
    At at;
    unsigned char handed[16]; /* to the threads of its warp */
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
    threads[now].at = THROUGH;
    leave_thread();
    std::abort();
}

static void wait_at(At at)
{
    if (!together)
        complain("a barrier in a kernel that does not say that its threads work together");
    threads[now].at = at;
    leave_thread();
}

__attribute__((noinline)) static void at_barrier(int line)
{
    parted |= line_of_barrier && line_of_barrier != line;
    line_of_barrier = line;
    wait_at(AT_BARRIER);
}

__attribute__((noinline)) static int counted_at_barrier(int holds, int line)
{
    votes += holds != 0;
    at_barrier(line);
    return counted;
}

#define WARP_LANES 32

/* What a lane of this thread's warp hands over; all of them must ask. */
template <class T> __attribute__((noinline)) static T handed_by(int lane, T own)
{
    static_assert(sizeof own <= sizeof threads[0].handed);
    int first = now - now % WARP_LANES;
    std::memcpy(threads[now].handed, &own, sizeof own);
    wait_at(AT_WARP);
    if (lane >= 0 && lane < WARP_LANES)
        std::memcpy(&own, threads[first + lane].handed, sizeof own);
    wait_at(AT_WARP); /* until all have read */
    return own;
}

static int lane_of_warp()
{
    return now % WARP_LANES;
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
    thread.at = NOWHERE_YET;
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

/* Threads of a warp, until each waits for the block or is through. */
static void run_warp(int first, int end, bool backwards)
{
    for (int waiting = 1; waiting;) {
        waiting = 0;
        for (int k = first; k < end; k++) {
            now = backwards ? end - 1 - (k - first) : k;
            if (threads[now].at == AT_BARRIER || threads[now].at == THROUGH)
                continue;
            choose_thread(now);
            count_steps(now, [] { change_stack(&of_all, threads[now].stack); });
            waiting += threads[now].at == AT_WARP;
        }
        if (waiting && waiting != end - first)
            complain("not all threads of a warp ask each other");
    }
}

static void run_together(int number)
{
    unsigned long long barriers = 0;
    for (int k = 0; k < number; k++)
        new_stack(threads[k]);
    int warps = (number + WARP_LANES - 1) / WARP_LANES;
    bool backwards = false;
    for (int left = number; left; backwards = !backwards) {
        int waiting = 0;
        line_of_barrier = votes = 0;
        for (int k = 0; k < warps; k++) {
            int first = WARP_LANES * (backwards ? warps - 1 - k : k);
            run_warp(first, std::min(first + WARP_LANES, number), backwards);
        }
        left = 0;
        for (int k = 0; k < number; k++) {
            left += threads[k].at != THROUGH;
            waiting += threads[k].at == AT_BARRIER;
            if (threads[k].at == AT_BARRIER)
                threads[k].at = NOWHERE_YET;
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

template <class T> T __shfl_sync(unsigned, T own, int lane)
{
    return stand_in::handed_by(lane, own);
}

template <class T> T __shfl_xor_sync(unsigned, T own, int lanes)
{
    return stand_in::handed_by(stand_in::lane_of_warp() ^ lanes, own);
}

template <class T> T __shfl_up_sync(unsigned, T own, int lanes)
{
    return stand_in::handed_by(stand_in::lane_of_warp() - lanes, own);
}
