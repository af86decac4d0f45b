/* Objects of the network's coarse map: the cells that point at one agree on where it lies.
 *
 * Twins: localisation.place_cells, localisation.suppress and segmentation.Segmentation._agreed. In
 * double precision, sums in a fixed order. A mark is a cell that is likely enough to have a say.
 */

#include "lists.cuh"
#include "facts.cuh"

#define LANES 32   /* threads to a mark or an object: each looks at every so many marks */
#define ORDERED 32 /* marks to a block */
#define SUMS 3     /* of a lane: weights, and weighted places along x and y */
#define WORD 32    /* bits */
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

/* Marks, surest first, of equals the first in reading order; LANES threads to a mark, which count those
 * before it. The places of those that point out of the frame are NaN, which is near to nothing. */
extern "C" __global__ void __launch_bounds__(TOGETHER) marks_ordered(
    double *facts, const int *place, const float *said, int room, int wide, int stride,
    int rows, int columns, double threshold,
    int *numbers, double *marks) /* (NUMBERS), (room, 3): x, y, weight */
{
    __shared__ int counts[ORDERED * LANES];
    int number = min(numbers[MARKS], room), begin = blockIdx.x * ORDERED;
    for (int k = threadIdx.x; k < ORDERED * LANES; k += blockDim.x) {
        int mark = begin + k / LANES, before = 0;
        float weight = mark < number ? said[3 * mark] : 0.0f;
        for (int j = k % LANES; j < number && mark < number; j += LANES) {
            float other = said[3 * j];
            before += other > weight || (other == weight && place[j] < place[mark]);
        }
        counts[k] = before;
    }
    __syncthreads();
    for (int k = threadIdx.x; k < min(ORDERED, number - begin); k += blockDim.x) {
        int before = 0;
        for (int lane = 0; lane < LANES; lane++)
            before += counts[LANES * k + lane];
        double *mark = marks + 3 * before;
        float weight = said[3 * (begin + k)];
        pointed_at(place, said, begin + k, wide, stride, mark);
        if (!points_inside(mark, rows, columns))
            mark[0] = mark[1] = NOWHERE;
        mark[2] = weight;
        if (weight >= threshold)
            atomicAdd(&numbers[SURE], 1);
    }
    if (begin + threadIdx.x == 0 && numbers[MARKS] > room)
        refuse(facts, REFUSAL_NO_ROOM);
}

/* Square of a distance: what a k-d tree compares with the square of its reach. */
__device__ static inline double apart(const double *a, const double *b)
{
    double x = a[0] - b[0], y = a[1] - b[1];
    return x * x + y * y;
}

/* Which surer ones are near each sure mark, a bit to each; LANES threads to a mark. */
extern "C" __global__ void marks_near(
    const double *facts, const int *numbers, const double *marks, int room, double merge,
    int *near) /* (room / WORD, room) */
{
    int index = blockIdx.x * blockDim.x + threadIdx.x, k = index % room, number = min(numbers[SURE], room);
    if (index >= LANES * room || k >= number)
        return;
    double reach = merging(facts, merge), bound = reach * reach;
    for (int word = index / room; word <= k / WORD; word += LANES) {
        unsigned bits = 0;
        for (int j = WORD * word; j < min(WORD * word + WORD, k); j++)
            if (apart(marks + 3 * j, marks + 3 * k) <= bound)
                bits |= 1u << j % WORD;
        near[word * room + k] = (int)bits;
    }
}

/* Which sure marks stay, when none may be near a surer one that does; one block.
 *
 * In rounds: a mark near a surer one that stays goes, and one with none near it that is still open
 * stays. The surest open one is settled in every round.
 */
extern "C" __global__ void __launch_bounds__(TOGETHER) marks_suppressed(
    double *facts, const int *numbers, const double *marks, const int *near, int room,
    int found_room, int *states, char *state, int *kept) /* (2, room / WORD), (room), (found_room) */
{
    int number = min(numbers[SURE], room), words = (number + WORD - 1) / WORD, open = number;
    int *opens = states, *stays = states + words;
    for (int k = threadIdx.x; k < number; k += blockDim.x)
        state[k] = marks[3 * k] >= -0.5 ? OPEN : GONE;
    while (open > 0) {
        __syncthreads(); /* all states of the last round are there */
        for (int word = threadIdx.x; word < words; word += blockDim.x) {
            unsigned opened = 0, stayed = 0;
            for (int k = WORD * word; k < min(WORD * word + WORD, number); k++) {
                opened |= (unsigned)(state[k] == OPEN) << k % WORD;
                stayed |= (unsigned)(state[k] == KEPT) << k % WORD;
            }
            opens[word] = (int)opened;
            stays[word] = (int)stayed;
        }
        __syncthreads();
        int left = 0;
        for (int k = threadIdx.x; k < number; k += blockDim.x) {
            if (state[k] != OPEN)
                continue;
            int near_open = 0, near_kept = 0;
            for (int word = 0; word <= k / WORD && !near_kept; word++) {
                near_kept = near[word * room + k] & stays[word];
                near_open |= near[word * room + k] & opens[word];
            }
            state[k] = near_kept ? GONE : near_open ? OPEN : KEPT;
            left += state[k] == OPEN;
        }
        open = summed(left);
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
    for (int k = index % LANES; k < number; k += LANES) {
        const double *mark = marks + 3 * k;
        if (!(apart(mark, own) < near))
            continue;
        sum[0] += mark[2];
        sum[1] += mark[2] * mark[0];
        sum[2] += mark[2] * mark[1];
    }
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
