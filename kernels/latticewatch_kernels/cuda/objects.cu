/* Objects of the network's coarse map: the cells that point at one agree on where it lies.
 *
 * Twins: localisation.place_cells, localisation.suppress and segmentation.Segmentation._agreed. In
 * double precision, sums in a fixed order. A mark is a cell that is likely enough to have a say.
 */

#include "lists.cuh"
#include "facts.cuh"

#define LANES 32 /* threads to an object or a mark: each looks at every so many marks */
#define SUMS 3   /* of a lane: weights, and weighted places along x and y */
#define NEAR 16  /* surer marks near one that are listed; of one with more all are looked through */
#define NOWHERE __longlong_as_double(0x7ff8000000000000ll)

enum Number { MARKS, SURE, NUMBERS };
enum State { OPEN, KEPT, GONE };

/* How far apart two objects are at least, in pixels of the image that the network saw. */
__device__ static inline double merging(const double *facts, double merge)
{
    return merge * facts[FACT_CONSTANT] * facts[FACT_FACTOR];
}

__device__ static inline void pointed_at(
    const int *place, const float *said, int k, int wide, int stride, double *point)
{
    point[0] = stride * (place[k] % wide) + 0.5 * (stride - 1) + said[3 * k + 1];
    point[1] = stride * (place[k] / wide) + 0.5 * (stride - 1) + said[3 * k + 2];
}

__device__ static inline bool points_inside(const double *point, int rows, int columns)
{
    bool across = point[0] >= -0.5 && point[0] < columns - 0.5;
    return across && point[1] >= -0.5 && point[1] < rows - 0.5;
}

/* Marks, surest first, of equals the first in reading order; a block to ORDERED marks. The places of
 * those that point out of the frame are NaN, which is near to nothing. */
extern "C" __global__ void __launch_bounds__(TOGETHER) marks_ordered(
    double *facts, const int *place, const float *said, int room, int wide, int stride,
    int rows, int columns, double threshold,
    int *numbers, double *marks) /* (NUMBERS), (room, 3): x, y, weight */
{
    int number = min(numbers[MARKS], room);
    auto before = [=](int other, int k) { /* all is read at once, with no branch to wait at */
        float weight = said[3 * k], others = said[3 * other];
        return (others > weight) | ((others == weight) & (place[other] < place[k]));
    };
    ordered(before, number, [=](int k, int rank) {
        double *mark = marks + 3 * rank;
        float weight = said[3 * k];
        pointed_at(place, said, k, wide, stride, mark);
        if (!points_inside(mark, rows, columns))
            mark[0] = mark[1] = NOWHERE;
        mark[2] = weight;
        if (weight >= threshold)
            atomicAdd(&numbers[SURE], 1);
    });
    if (blockIdx.x + threadIdx.x == 0 && numbers[MARKS] > room)
        refuse(facts, REFUSAL_NO_ROOM);
}

/* Square of a distance: what a k-d tree compares with the square of its reach. */
__device__ static inline double apart(const double *a, const double *b)
{
    double x = a[0] - b[0], y = a[1] - b[1];
    return x * x + y * y;
}

/* Hand over each mark of a lane, among the first so many, and the square of its distance from a place.
 * Places are read some at a time, so that a thread waits once for several. */
template <class Then>
__device__ static void each_apart(
    const double *marks, int lane, int number, const double *own, Then then)
{
    for (int first = lane; first < number; first += AT_ONCE * LANES) {
        double distance[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++)
            distance[j] = apart(marks + 3 * min(first + j * LANES, number - 1), own);
        for (int j = 0; j < AT_ONCE; j++)
            if (first + j * LANES < number)
                then(first + j * LANES, distance[j]);
    }
}

/* Surer marks near each sure one, as many as there is room for, in any order, and how many there are;
 * LANES threads to a mark. */
extern "C" __global__ void marks_near(
    const double *facts, const int *numbers, const double *marks, int room, double merge,
    int *counts, int *near) /* (room), zeros, and (room, NEAR) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, k = index / LANES;
    if (k >= min(numbers[SURE], room))
        return;
    double reach = merging(facts, merge), bound = reach * reach;
    each_apart(marks, index % LANES, k, marks + 3 * k, [=](int other, double distance) {
        if (!(distance <= bound))
            return;
        int slot = atomicAdd(&counts[k], 1);
        if (slot < NEAR)
            near[NEAR * k + slot] = other;
    });
}

/* State of an open mark after a round, by the states before it. */
__device__ static int judged(
    const double *marks, int k, double bound, int count, const int *near, const char *state)
{
    bool near_open = false, all = count > NEAR;
    for (int slot = 0; slot < (all ? k : count); slot++) {
        int other = all ? slot : near[NEAR * k + slot];
        if (all && !(apart(marks + 3 * other, marks + 3 * k) <= bound))
            continue;
        if (state[other] == KEPT)
            return GONE;
        near_open |= state[other] == OPEN;
    }
    return near_open ? OPEN : KEPT;
}

/* Which sure marks stay, when none may be near a surer one that does; one block.
 *
 * In rounds: a mark near a surer one that stays goes, and one with none near it that is still open
 * stays. The surest open one is settled in every round.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) marks_suppressed(
    double *facts, const int *numbers, const double *marks, int room, double merge,
    const int *counts, const int *near, int found_room,
    char *states, int *kept) /* (2, room), (found_room) */
{
    int number = min(numbers[SURE], room), open = 1;
    double reach = merging(facts, merge), bound = reach * reach;
    char *state = states, *next = states + room;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        state[k] = marks[3 * k] >= -0.5 ? OPEN : GONE;
    __syncthreads();
    while (open > 0) {
        bool left = false;
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            next[k] = state[k] == OPEN ? judged(marks, k, bound, counts[k], near, state) : state[k];
            left |= next[k] == OPEN;
        }
        open = __syncthreads_count(left);
        char *last = state;
        state = next;
        next = last;
    }
    int total = listed_where([=](int k) { return state[k] == KEPT; }, number, found_room, kept);
    if (threadIdx.x == 0) {
        facts[FACT_FOUND] = min(total, found_room);
        if (total > found_room)
            refuse(facts, REFUSAL_NO_ROOM);
    }
}

/* What the marks of a mind with each object say of its place; LANES threads to an object. */
extern "C" __global__ void votes(
    const double *facts, const int *numbers, const double *marks, int room, double merge, double reach,
    const int *kept, int found_room, double *sums) /* (found_room), (found_room, LANES, SUMS) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, object = index / LANES;
    if (object >= counted(facts, FACT_FOUND, found_room))
        return;
    double bound = reach * merging(facts, merge), near = bound * bound, sum[SUMS] = {0.0, 0.0, 0.0};
    const double *own = marks + 3 * kept[object];
    int number = min(numbers[MARKS], room);
    each_apart(marks, index % LANES, number, own, [&](int k, double distance) {
        const double *mark = marks + 3 * k;
        if (!(distance < near))
            return;
        sum[0] += mark[2];
        sum[1] += mark[2] * mark[0];
        sum[2] += mark[2] * mark[1];
    });
    for (int k = 0; k < SUMS; k++)
        sums[SUMS * index + k] = sum[k];
}

/* Objects in pixels of the frame, surest first, the rest zeros; a thread to an object. */
extern "C" __global__ void objects(
    const double *facts, const double *marks, const int *kept, int found_room, const double *sums,
    double *points, double *probability) /* (found_room, 2), (found_room) */
{
    int object = blockIdx.x * blockDim.x + threadIdx.x;
    if (object >= found_room)
        return;
    points[2 * object] = points[2 * object + 1] = probability[object] = 0.0;
    if (object >= counted(facts, FACT_FOUND, found_room))
        return;
    const double *mark = marks + 3 * kept[object];
    double sum[SUMS] = {0.0, 0.0, 0.0}, factor = facts[FACT_FACTOR];
    for (int lane = 0; lane < LANES; lane++)
        for (int k = 0; k < SUMS; k++)
            sum[k] += sums[SUMS * (object * LANES + lane) + k];
    for (int axis = 0; axis < 2; axis++) {
        double place = sum[0] > 0.0 ? sum[1 + axis] / sum[0] : mark[axis];
        points[2 * object + axis] = (place + 0.5) / factor - 0.5;
    }
    probability[object] = mark[2];
}
