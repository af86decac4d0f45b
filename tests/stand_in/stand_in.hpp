/* What the parts of the stand-in share: streams of work, devices, and how failures are told. */

#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

typedef std::function<void()> Work;

/* Work of one stream that was captured, in order. */
struct Captured {
    std::vector<Work> work;
};

struct Stream;
typedef std::shared_ptr<Stream> StreamRef;

/* A place in a stream: what was asked of it up to there. */
struct Mark {
    StreamRef stream;
    long number = 0;
};

struct Asked {
    Work work;
    std::vector<Mark> after; /* which must be done before */
};

struct Stream {
    int device = 0;
    unsigned flags = 0;
    bool blocking = true; /* keeps to the order of the legacy stream */
    std::deque<Asked> waiting;
    long done = 0, asked = 0;
    std::shared_ptr<Captured> capture; /* what is being captured, if anything is */
    bool invalid = false;              /* the capture cannot be used any more */
};

/* Held by whoever asks or waits; work is done under it. */
extern std::recursive_mutex gate;
typedef std::lock_guard<std::recursive_mutex> Hold;

/* Device that this thread has chosen. */
extern thread_local int current;

int devices();
size_t device_bytes();

/* What every call gives for a device that is lost; STAND_IN_LOST=K:N loses device K at the Nth time
 * that it is asked for something. */
cudaError_t lost(int device);

/* Give an error, and keep it for cudaGetLastError; says why where STAND_IN_LOG is set. */
cudaError_t fail(int error, const char *why);

StreamRef stream_of(void *handle); /* none for a handle that is none */
StreamRef legacy_of(int device);

/* Ask a stream for work, which is done when somebody waits for it and not before. */
cudaError_t ask(const StreamRef &stream, Work work, std::vector<Mark> after = {});
cudaError_t wait_for(const StreamRef &stream);
void run_device(int device);
