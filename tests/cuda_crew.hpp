/* Kernels of CUDA C on several threads of the host, so that those of a block can get into each
 * other's way. Nothing here orders what one thread does before what another does but the barriers.
 */

#include <pthread.h> /* <thread> and what goes with it take twice as long to compile */

#define __shared__ static
#define __syncthreads() at_barrier(__LINE__)
#define __syncthreads_count(holds) counted_at_barrier(holds, __LINE__)

struct Index { int x; };
static thread_local Index threadIdx, blockIdx, blockDim;

/* ThreadSanitizer is told of the barriers alone. How they are made would order more than they do: a
 * thread that wakes late has seen the lock that another took for the barrier after. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreSyncBegin(const char *, int);
extern "C" void AnnotateIgnoreSyncEnd(const char *, int);
struct Unseen {
    Unseen() { AnnotateIgnoreSyncBegin(__FILE__, __LINE__); }
    ~Unseen() { AnnotateIgnoreSyncEnd(__FILE__, __LINE__); }
};
#define UNWATCHED __attribute__((noinline, no_sanitize("thread")))
#define BEFORE_OTHERS(place) __tsan_release(place)
#define AFTER_OTHERS(place) __tsan_acquire(place)
#else
struct Unseen {};
#define UNWATCHED
#define BEFORE_OTHERS(place)
#define AFTER_OTHERS(place)
#endif

/* What is wrong with a kernel; 0 nothing. As in cuda_on_host.FAULTS. */
enum Fault { LEFT = 1, PARTED = 2, ALONE = 3 };

/* The barriers of one block. */
class Gate {
public:
    explicit Gate(int threads) : threads(threads) {}
    ~Gate()
    {
        pthread_cond_destroy(&opened);
        pthread_mutex_destroy(&lock);
    }

    void wait(int line, int number)
    {
        BEFORE_OTHERS(edges + number % 2);
        arrive(line);
        AFTER_OTHERS(edges + number % 2);
    }

    /* A thread is through with its kernel; none may wait for it. */
    UNWATCHED void leave()
    {
        [[maybe_unused]] Unseen unseen;
        pthread_mutex_lock(&lock);
        left++;
        if (waiting)
            fault = LEFT;
        if (waiting && waiting + left == threads)
            open();
        pthread_mutex_unlock(&lock);
    }

    int fault = 0;
    int votes[3] = {0, 0, 0};

private:
    UNWATCHED void arrive(int line)
    {
        [[maybe_unused]] Unseen unseen;
        pthread_mutex_lock(&lock);
        if (left)
            fault = LEFT;
        else if (waiting && at != line)
            fault = PARTED;
        at = line;
        int mine = times;
        if (++waiting + left == threads)
            open();
        while (times == mine)
            pthread_cond_wait(&opened, &lock);
        pthread_mutex_unlock(&lock);
    }

    UNWATCHED void open()
    {
        waiting = 0;
        times++;
        pthread_cond_broadcast(&opened);
    }

    int threads, waiting = 0, left = 0, times = 0, at = 0;
    char edges[2]; /* what ThreadSanitizer knows this barrier and the next by */
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
};

/* Threads of a warp: few, so that what one of them sees of another warp shows. */
#define WARP 2
#define MOST_WARPS 16

static thread_local Gate *gate, *gate_of_warp;
static thread_local int ballots, barriers; /* that this thread has come to, ballots among them */
static thread_local int exchanges; /* of this thread with its warp */
static int alone; /* barriers in kernels whose threads do not work together */

inline void at_barrier(int line)
{
    if (gate)
        gate->wait(line, barriers++);
    else
        __atomic_fetch_add(&alone, 1, __ATOMIC_RELAXED);
}

/* Number of threads for which something holds, with the one barrier that this is. */
inline int counted_at_barrier(int holds, int line)
{
    if (!gate) {
        at_barrier(line);
        return 0;
    }
    int mine = ballots++ % 3;
    __atomic_fetch_add(gate->votes + mine, holds != 0, __ATOMIC_RELAXED);
    gate->wait(line, barriers++);
    /* all have read the last one, and the next but one is behind a barrier more */
    if (threadIdx.x == 0)
        __atomic_store_n(gate->votes + (mine + 2) % 3, 0, __ATOMIC_RELAXED);
    return __atomic_load_n(gate->votes + mine, __ATOMIC_RELAXED);
}

/* What a lane of this thread's warp hands over; all of them must ask. Two places take turns, so that
 * one barrier of the warp does. */
template <class T> T handed_by(int lane, T own)
{
    static T handed[MOST_WARPS][2][WARP];
    if (!gate_of_warp) {
        at_barrier(__LINE__);
        return own;
    }
    T *here = handed[threadIdx.x / WARP][exchanges % 2];
    here[threadIdx.x % WARP] = own;
    gate_of_warp->wait(sizeof(T), exchanges++);
    return lane >= 0 && lane < WARP ? here[lane] : own;
}

template <class T> T __shfl_sync(unsigned, T own, int lane) { return handed_by(lane, own); }
template <class T> T __shfl_xor_sync(unsigned, T own, int lanes)
{
    return handed_by(threadIdx.x % WARP ^ lanes, own);
}
template <class T> T __shfl_up_sync(unsigned, T own, int lanes)
{
    return handed_by(threadIdx.x % WARP - lanes, own);
}

/* Add without an order to what lies around it, as on a GPU. */
template <class T> T atomicAdd(T *place, T value)
{
    T old, sum;
    __atomic_load(place, &old, __ATOMIC_RELAXED);
    do
        sum = old + value;
    while (!__atomic_compare_exchange(place, &old, &sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

template <class T> T atomicMax(T *place, T value)
{
    T old, greater;
    __atomic_load(place, &old, __ATOMIC_RELAXED);
    do
        greater = old < value ? value : old;
    while (!__atomic_compare_exchange(
        place, &old, &greater, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

/* Have work(number) done by each of some workers at the same time. */
template <class Work> void by_all(int workers, Work work)
{
    struct Hand {
        Work *work;
        int number;
        pthread_t thread;
    };
    Hand *hands = new Hand[workers];
    auto begin = [](void *given) -> void * {
        Hand *hand = (Hand *)given;
        (*hand->work)(hand->number);
        return nullptr;
    };
    for (int k = 0; k < workers; k++) {
        hands[k].work = &work;
        hands[k].number = k;
        if (pthread_create(&hands[k].thread, nullptr, begin, hands + k))
            std::abort(); /* those that are there would wait for ever */
    }
    for (int k = 0; k < workers; k++)
        pthread_join(hands[k].thread, nullptr);
    delete[] hands;
}

/* Run block after block of a kernel whose threads work together: a worker to each. */
template <class Kernel> int run_together(int blocks, int, int workers, Kernel kernel)
{
    int fault = 0;
    for (int block = 0; block < blocks; block++) {
        Gate of_block(workers);
        Gate *of_warps[MOST_WARPS] = {};
        for (int warp = 0; warp < workers / WARP; warp++)
            of_warps[warp] = new Gate(WARP);
        by_all(workers, [&](int number) {
            blockDim.x = workers;
            blockIdx.x = block;
            threadIdx.x = number;
            gate = &of_block;
            gate_of_warp = of_warps[number / WARP];
            ballots = barriers = exchanges = 0;
            kernel();
            gate_of_warp->leave();
            of_block.leave();
        });
        fault = fault ? fault : of_block.fault;
        for (Gate *of_warp : of_warps) {
            fault = fault || !of_warp ? fault : of_warp->fault;
            delete of_warp;
        }
    }
    return fault;
}

/* Run a kernel whose threads know nothing of each other: neighbours on different ones of the host. */
template <class Kernel> int run_apart(int blocks, int threads, int workers, Kernel kernel)
{
    alone = 0;
    by_all(workers, [&](int number) {
        blockDim.x = threads;
        for (long long index = number; index < (long long)blocks * threads; index += workers) {
            blockIdx.x = (int)(index / threads);
            threadIdx.x = (int)(index % threads);
            kernel();
        }
    });
    return alone ? ALONE : 0;
}
