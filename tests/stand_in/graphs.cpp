/* Work of a stream that is captured, and started again as a graph. */

#include "stand_in.hpp"

/* Whether graphs do nothing any more. */
static bool left_out = false;

extern "C" {

/* For `bench/host_share.py`. */
void stand_in_leave_graphs_out()
{
    left_out = true;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode)
{
    Hold hold(gate);
    StreamRef stream = stream_of(handle);
    if (!stream || stream == legacy_of(current))
        return fail(cudaErrorStreamCaptureUnsupported, "the legacy stream does not capture");
    if (stream->capture)
        return fail(cudaErrorIllegalState, "a stream captures already");
    stream->capture = std::make_shared<Captured>();
    stream->invalid = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    Hold hold(gate);
    StreamRef stream = stream_of(handle);
    if (!stream || !stream->capture)
        return fail(cudaErrorIllegalState, "a stream captures nothing");
    std::shared_ptr<Captured> captured;
    captured.swap(stream->capture);
    *graph = nullptr;
    if (stream->invalid)
        return fail(cudaErrorStreamCaptureInvalidated, "a capture was spoilt");
    *graph = (cudaGraph_t) new std::shared_ptr<Captured>(captured);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status)
{
    Hold hold(gate);
    StreamRef stream = stream_of(handle);
    bool captures = stream && stream->capture;
    *status = !captures         ? cudaStreamCaptureStatusNone
              : stream->invalid ? cudaStreamCaptureStatusInvalidated
                                : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t graph, unsigned long long)
{
    *ready = (cudaGraphExec_t) new std::shared_ptr<Captured>(*(std::shared_ptr<Captured> *)graph);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete (std::shared_ptr<Captured> *)graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete (std::shared_ptr<Captured> *)graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t on)
{
    Hold hold(gate);
    auto captured = *(std::shared_ptr<Captured> *)graph;
    return ask(stream_of(on), [captured] {
        for (auto &work : captured->work)
            if (!left_out)
                work();
    });
}

} /* extern "C" */
