// Streams, events and graphs. Work runs when it is given to a stream, in the order in which it is given; a
// stream that is being captured keeps it in a graph instead.
#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <vector>

#include "backends/cuda/emulator/state.h"
#include "core/check.h"

struct CUgraph_st {
  std::vector<norma::emulator::Work> nodes;
};
struct CUgraphExec_st {
  std::vector<norma::emulator::Work> nodes;
};
struct CUstream_st {
  std::unique_ptr<CUgraph_st> capture;
  bool relaxed = false;  // captured in a mode that lets memory be allocated meanwhile
  bool invalid = false;  // the capture met something that cannot be captured
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
  bool timed = true;
  bool recorded = false;
  bool captured = false;  // recorded in a stream that was being captured
};

namespace norma::emulator {
namespace {

// All live handles, so that a stale one is an error.
struct Handles {
  std::mutex mutex;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> executables;
};
Handles& handles() {
  static Handles* const made = new Handles;
  return *made;
}

template <class Handle>
bool holds(std::set<Handle> Handles::*kind, Handle handle) {
  const std::lock_guard lock(handles().mutex);
  return (handles().*kind).contains(handle);
}

template <class Handle>
cudaError_t create(std::set<Handle> Handles::*kind, Handle* handle, Handle made) {
  const std::lock_guard lock(handles().mutex);
  (handles().*kind).insert(made);
  *handle = made;
  return cudaSuccess;
}

template <class Handle>
cudaError_t destroy(std::set<Handle> Handles::*kind, Handle handle, const char* call) {
  const std::lock_guard lock(handles().mutex);
  if ((handles().*kind).erase(handle) == 0)
    return fail(cudaErrorInvalidResourceHandle, detail::concat(call, ": no such handle"));
  delete handle;
  return cudaSuccess;
}

cudaError_t unknown(const char* call) {
  return fail(cudaErrorInvalidResourceHandle,
              detail::concat(call, ": the handle was not created, or is destroyed"));
}

std::vector<cudaStream_t> captured_streams() {
  const std::lock_guard lock(handles().mutex);
  std::vector<cudaStream_t> found;
  for (const cudaStream_t stream : handles().streams)
    if (stream->capture != nullptr) found.push_back(stream);
  return found;
}

cudaError_t run_all(const std::vector<Work>& nodes) {
  for (const Work& work : nodes)
    if (const cudaError_t error = work(); error != cudaSuccess) return error;
  return cudaSuccess;
}

cudaError_t wait_for(const char* call) {
  for (const cudaStream_t stream : captured_streams()) {
    stream->invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported,
                detail::concat(call, " waits, which a graph cannot; the capture is invalid"));
  }
  count([](Counters& c) { ++c.synchronizations; });
  return cudaSuccess;
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, const char* call, Work work) {
  if (stream == nullptr) {
    for (const cudaStream_t captured : captured_streams()) {
      captured->invalid = true;
      return fail(cudaErrorStreamCaptureImplicit,
                  detail::concat(call, " uses the default stream while another one is being captured"));
    }
    return work();
  }
  if (!holds(&Handles::streams, stream)) return unknown(call);
  if (stream->capture == nullptr) return work();
  stream->capture->nodes.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t refuse_in_capture(const char* call) {
  for (const cudaStream_t stream : captured_streams()) {
    if (stream->relaxed) continue;
    stream->invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported,
                detail::concat(call, " cannot be part of a graph; the capture is invalid"));
  }
  return cudaSuccess;
}

}  // namespace norma::emulator

using namespace norma::emulator;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return create(&Handles::streams, stream, new CUstream_st);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return destroy(&Handles::streams, stream, "cudaStreamDestroy");
}

cudaError_t cudaDeviceSynchronize() { return wait_for("cudaDeviceSynchronize"); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream != nullptr && !holds(&Handles::streams, stream)) return unknown("cudaStreamSynchronize");
  return wait_for("cudaStreamSynchronize");
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return stream == nullptr || holds(&Handles::streams, stream) ? cudaSuccess : unknown("cudaStreamQuery");
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!holds(&Handles::events, event)) return unknown("cudaStreamWaitEvent");
  const bool capturing = stream != nullptr && holds(&Handles::streams, stream) && stream->capture != nullptr;
  if (event->captured && !capturing)
    return fail(cudaErrorNotSupported, "the emulator captures one stream at a time: another one cannot join");
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return enqueue(stream, "cudaLaunchHostFunc", [=] {
    function(data);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const cudaError_t error = create(&Handles::events, event, new CUevent_st);
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return error;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return destroy(&Handles::events, event, "cudaEventDestroy");
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (!holds(&Handles::events, event)) return unknown("cudaEventRecord");
  event->captured = stream != nullptr && holds(&Handles::streams, stream) && stream->capture != nullptr;
  return enqueue(stream, "cudaEventRecord", [event] {
    if (!holds(&Handles::events, event)) return unknown("cudaEventRecord");
    event->time = std::chrono::steady_clock::now();
    event->recorded = true;
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (!holds(&Handles::events, event)) return unknown("cudaEventSynchronize");
  return wait_for("cudaEventSynchronize");
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return holds(&Handles::events, event) ? cudaSuccess : unknown("cudaEventQuery");
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!holds(&Handles::events, start) || !holds(&Handles::events, end))
    return unknown("cudaEventElapsedTime");
  if (!start->recorded || !end->recorded || !start->timed || !end->timed)
    return fail(cudaErrorInvalidResourceHandle,
                "both events must be recorded, and made without cudaEventDisableTiming");
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr)
    return fail(cudaErrorStreamCaptureUnsupported, "the default stream cannot be captured");
  if (!holds(&Handles::streams, stream)) return unknown("cudaStreamBeginCapture");
  if (stream->capture != nullptr) return fail(cudaErrorInvalidValue, "the stream is being captured already");
  stream->capture = std::make_unique<CUgraph_st>();
  stream->relaxed = mode == cudaStreamCaptureModeRelaxed;
  stream->invalid = false;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || !holds(&Handles::streams, stream)) return unknown("cudaStreamEndCapture");
  if (stream->capture == nullptr) return fail(cudaErrorInvalidValue, "the stream is not being captured");
  std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalid)
    return fail(cudaErrorStreamCaptureInvalidated, "a call during the capture cannot be part of a graph");
  return create(&Handles::graphs, graph, captured.release());
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  if (stream != nullptr && !holds(&Handles::streams, stream)) return unknown("cudaStreamIsCapturing");
  const bool capturing = stream != nullptr && stream->capture != nullptr;
  *status = !capturing        ? cudaStreamCaptureStatusNone
            : stream->invalid ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (!holds(&Handles::graphs, graph)) return unknown("cudaGraphGetNodes");
  if (nodes != nullptr)
    return fail(cudaErrorNotSupported, "the emulator counts nodes, but has no handles of them");
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (!holds(&Handles::graphs, graph)) return unknown("cudaGraphInstantiate");
  return create(&Handles::executables, executable, new CUgraphExec_st{graph->nodes});
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (!holds(&Handles::executables, executable)) return unknown("cudaGraphLaunch");
  return enqueue(stream, "cudaGraphLaunch", [nodes = executable->nodes] {
    count([](Counters& c) { ++c.graph_launches; });
    return run_all(nodes);
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return destroy(&Handles::graphs, graph, "cudaGraphDestroy");
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return destroy(&Handles::executables, executable, "cudaGraphExecDestroy");
}
