/* Streams and events. Work is put off until it is waited for, which is as late as a device
 * could be: what is read too early, or written over too soon, shows. */

#include "stand_in.hpp"

#include <chrono>
#include <map>

std::recursive_mutex gate;

static std::map<void *, StreamRef> streams;
static std::map<int, StreamRef> legacy;

/* Milliseconds of work that was done, and how often the host waited for any. */
static double worked = 0.0;
static long waits = 0;

static double milliseconds()
{
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

StreamRef legacy_of(int device)
{
    StreamRef &stream = legacy[device];
    if (!stream) {
        stream = std::make_shared<Stream>();
        stream->device = device;
    }
    return stream;
}

StreamRef stream_of(void *handle)
{
    if (handle == nullptr || handle == (void *)cudaStreamLegacy)
        return legacy_of(current);
    auto found = streams.find(handle);
    return found == streams.end() ? nullptr : found->second;
}

static void run_until(const StreamRef &stream, long number)
{
    while (stream->done < number) {
        Asked next = std::move(stream->waiting.front());
        for (auto &mark : next.after)
            run_until(mark.stream, mark.number);
        stream->waiting.pop_front();
        double start = milliseconds();
        next.work();
        worked += milliseconds() - start;
        stream->done++;
    }
}

void run_device(int device)
{
    run_until(legacy_of(device), legacy_of(device)->asked);
    for (auto &each : streams)
        if (each.second->device == device)
            run_until(each.second, each.second->asked);
}

static bool captures(int device, bool blocking_only)
{
    for (auto &each : streams) {
        const Stream &stream = *each.second;
        if (stream.device == device && stream.capture && (stream.blocking || !blocking_only))
            return true;
    }
    return false;
}

cudaError_t ask(const StreamRef &stream, Work work, std::vector<Mark> after)
{
    if (!stream)
        return fail(cudaErrorInvalidResourceHandle, "there is no such stream");
    if (stream->device != current)
        return fail(cudaErrorInvalidResourceHandle, "a stream of another device");
    if (lost(current))
        return cudaErrorLaunchFailure;
    if (stream->capture) {
        for (auto &mark : after)
            if (mark.stream != stream) {
                stream->invalid = true;
                return fail(cudaErrorStreamCaptureIsolation, "waits for what is not captured");
            }
        stream->capture->work.push_back(std::move(work));
        return cudaSuccess;
    }
    StreamRef all = legacy_of(stream->device);
    if (stream == all && captures(stream->device, true))
        return fail(cudaErrorStreamCaptureImplicit, "the legacy stream is used in a capture");
    if (stream == all) {
        for (auto &each : streams)
            if (each.second->device == stream->device && each.second->blocking)
                after.push_back({each.second, each.second->asked});
    } else if (stream->blocking)
        after.push_back({all, all->asked});
    stream->waiting.push_back({std::move(work), std::move(after)});
    stream->asked++;
    return cudaSuccess;
}

cudaError_t wait_for(const StreamRef &stream)
{
    if (!stream)
        return fail(cudaErrorInvalidResourceHandle, "there is no such stream");
    if (lost(stream->device))
        return cudaErrorLaunchFailure;
    if (stream->capture) {
        stream->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported, "a stream that captures is waited for");
    }
    waits++;
    if (stream == legacy_of(stream->device))
        for (auto &each : streams)
            if (each.second->device == stream->device && each.second->blocking)
                run_until(each.second, each.second->asked);
    run_until(stream, stream->asked);
    return cudaSuccess;
}

/* An event, and when the stream came to it, ms. */
struct Event {
    unsigned flags;
    bool recorded = false;
    Mark mark;
    std::shared_ptr<double> time;
    std::shared_ptr<Captured> captured;
};

extern "C" {

/* For `provider.py`, whose original keeps to the order of the stream without the host. */
void stand_in_finish(cudaStream_t handle)
{
    Hold hold(gate);
    StreamRef stream = stream_of(handle);
    run_until(stream, stream->asked);
}

/* For `provider.py`, too: what is called when the stream comes to it, and at each start of a graph. */
int stand_in_ask(cudaStream_t handle, void (*call)())
{
    Hold hold(gate);
    return ask(stream_of(handle), [call] { call(); });
}

/* For `tests/gpu/test_waits.py`. */
long stand_in_waits()
{
    return waits;
}

/* For `bench/host_share.py`. */
double stand_in_worked_ms()
{
    return worked;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *handle, unsigned flags, int)
{
    Hold hold(gate);
    auto stream = std::make_shared<Stream>();
    stream->device = current;
    stream->flags = flags;
    stream->blocking = !(flags & cudaStreamNonBlocking);
    *handle = (cudaStream_t)stream.get();
    streams[*handle] = stream;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *handle, unsigned flags)
{
    return cudaStreamCreateWithPriority(handle, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *handle)
{
    return cudaStreamCreateWithPriority(handle, 0, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    Hold hold(gate);
    if (!streams.count(handle))
        return fail(cudaErrorInvalidResourceHandle, "a stream is given back that is none");
    run_until(streams[handle], streams[handle]->asked);
    streams.erase(handle);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    Hold hold(gate);
    return wait_for(stream_of(handle));
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    Hold hold(gate);
    StreamRef stream = stream_of(handle);
    return stream->done == stream->asked ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize()
{
    Hold hold(gate);
    if (captures(current, false))
        return fail(cudaErrorStreamCaptureUnsupported, "a device that captures is waited for");
    waits++;
    run_device(current);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    *event = (cudaEvent_t) new Event{flags};
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    Hold hold(gate);
    delete (Event *)event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on)
{
    Hold hold(gate);
    Event *event = (Event *)handle;
    StreamRef stream = stream_of(on);
    auto time = std::make_shared<double>(0.0);
    cudaError_t error = ask(stream, [time] { *time = milliseconds(); });
    if (error)
        return error;
    event->recorded = true;
    event->mark = {stream, stream->asked};
    event->time = time;
    event->captured = stream->capture;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t on, cudaEvent_t handle, unsigned)
{
    Hold hold(gate);
    Event *event = (Event *)handle;
    StreamRef stream = stream_of(on);
    if (!event->recorded)
        return cudaSuccess;
    if (event->captured && (!stream || event->captured != stream->capture))
        return fail(cudaErrorStreamCaptureIsolation, "an event of a capture is waited for outside");
    return ask(stream, [] {}, {event->mark});
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle)
{
    Hold hold(gate);
    Event *event = (Event *)handle;
    if (event->captured)
        return fail(cudaErrorCapturedEvent, "a captured event is waited for");
    if (event->recorded && lost(event->mark.stream->device))
        return cudaErrorLaunchFailure;
    waits++;
    if (event->recorded)
        run_until(event->mark.stream, event->mark.number);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle)
{
    Hold hold(gate);
    Event *event = (Event *)handle;
    bool done = !event->recorded || event->mark.stream->done >= event->mark.number;
    return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    Hold hold(gate);
    Event *first = (Event *)start, *last = (Event *)end;
    if (!first->recorded || !last->recorded || (first->flags | last->flags) & cudaEventDisableTiming)
        return fail(cudaErrorInvalidResourceHandle, "events without a time are subtracted");
    if (cudaEventQuery(start) || cudaEventQuery(end))
        return cudaErrorNotReady;
    *ms = (float)(*last->time - *first->time);
    return cudaSuccess;
}

} /* extern "C" */
