/* Memory of devices and of the host, and copies between them. Device memory is the host's, full of
 * ones where nothing was written and of other marks where it was given back. */

#include "stand_in.hpp"

#include <cstdlib>
#include <cstring>
#include <map>

enum Kind { ORDINARY, DEVICE, PAGE_LOCKED, BEYOND };

struct Block {
    size_t size;
    Kind kind;
    int device;
};

static std::map<char *, Block> blocks;
static std::map<int, size_t> used;

static std::pair<char *const, Block> *block_at(const void *place)
{
    auto next = blocks.upper_bound((char *)place);
    if (next == blocks.begin())
        return nullptr;
    auto block = std::prev(next);
    return (char *)place < block->first + block->second.size ? &*block : nullptr;
}

/* Kind of some bytes; BEYOND where they run out of what was handed out. */
static Kind kind_of(const void *place, size_t size)
{
    auto block = block_at(place);
    if (!block)
        return ORDINARY;
    bool inside = (char *)place + size <= block->first + block->second.size;
    return inside ? block->second.kind : BEYOND;
}

static cudaError_t hand_out(void **place, size_t size, Kind kind)
{
    size_t whole = (size / 512 + 1) * 512;
    if (posix_memalign(place, 512, whole))
        return fail(cudaErrorMemoryAllocation, "the host is out of memory");
    std::memset(*place, kind == DEVICE ? 0xFF : 0xA5, whole);
    blocks[(char *)*place] = {size ? size : 1, kind, current};
    return cudaSuccess;
}

static cudaError_t take_back(void *place, Kind kind)
{
    if (!place)
        return cudaSuccess;
    auto block = blocks.find((char *)place);
    if (block == blocks.end() || block->second.kind != kind)
        return fail(cudaErrorInvalidValue, "memory is given back that was not handed out");
    for (int device = 0; device < devices(); device++)
        run_device(device);
    if (kind == DEVICE)
        used[block->second.device] -= block->second.size;
    std::memset(place, 0xEE, block->second.size);
    blocks.erase(block);
    std::free(place);
    return cudaSuccess;
}

static cudaError_t copy(
    void *to, const void *from, size_t size, cudaMemcpyKind way, const StreamRef &stream, bool waits)
{
    if (!size)
        return cudaSuccess;
    Kind end = kind_of(to, size), start = kind_of(from, size);
    if (end == BEYOND || start == BEYOND)
        return fail(cudaErrorInvalidValue, "a copy runs out of what was handed out");
    bool up = way == cudaMemcpyHostToDevice, down = way == cudaMemcpyDeviceToHost;
    if ((up && (end != DEVICE || start == DEVICE)) || (down && (end == DEVICE || start != DEVICE)))
        return fail(cudaErrorInvalidValue, "a copy says that it goes where it does not");
    bool ordinary = end == ORDINARY || start == ORDINARY;
    if (stream && stream->capture && (ordinary || waits)) {
        stream->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported, "a copy that waits is captured");
    }
    Work work = [=] { std::memmove(to, from, size); };
    if (start == ORDINARY) { /* the driver takes it at once */
        auto taken = std::make_shared<std::vector<char>>((char *)from, (char *)from + size);
        work = [=] { std::memcpy(to, taken->data(), size); };
    }
    cudaError_t error = ask(stream, work);
    return error || !(waits || end == ORDINARY) ? error : wait_for(stream);
}

extern "C" {

cudaError_t cudaMalloc(void **place, size_t size)
{
    Hold hold(gate);
    if (lost(current))
        return cudaErrorLaunchFailure;
    if (used[current] + size > device_bytes())
        return fail(cudaErrorMemoryAllocation, "the device is out of memory");
    used[current] += size;
    return hand_out(place, size, DEVICE);
}

cudaError_t cudaFree(void *place)
{
    Hold hold(gate);
    return take_back(place, DEVICE);
}

cudaError_t cudaHostAlloc(void **place, size_t size, unsigned)
{
    Hold hold(gate);
    return hand_out(place, size, PAGE_LOCKED);
}

cudaError_t cudaFreeHost(void *place)
{
    Hold hold(gate);
    return take_back(place, PAGE_LOCKED);
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    Hold hold(gate);
    *total = device_bytes();
    *free = *total - used[current];
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind way)
{
    Hold hold(gate);
    return copy(to, from, size, way, legacy_of(current), true);
}

cudaError_t cudaMemcpyAsync(
    void *to, const void *from, size_t size, cudaMemcpyKind way, cudaStream_t on)
{
    Hold hold(gate);
    return copy(to, from, size, way, stream_of(on), false);
}

cudaError_t cudaMemsetAsync(void *place, int value, size_t size, cudaStream_t on)
{
    Hold hold(gate);
    if (kind_of(place, size) != DEVICE)
        return fail(cudaErrorInvalidValue, "what is no device's memory is set");
    return ask(stream_of(on), [=] { std::memset(place, value, size); });
}

cudaError_t cudaMemset(void *place, int value, size_t size)
{
    return cudaMemsetAsync(place, value, size, nullptr);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *found, const void *place)
{
    Hold hold(gate);
    auto block = block_at(place);
    bool device = block && block->second.kind == DEVICE;
    found->type = device ? cudaMemoryTypeDevice : block ? cudaMemoryTypeHost
                                                        : cudaMemoryTypeUnregistered;
    found->device = block ? block->second.device : 0;
    found->devicePointer = block ? (void *)place : nullptr;
    found->hostPointer = block && !device ? (void *)place : nullptr;
    return cudaSuccess;
}

} /* extern "C" */
