// CUDA's runtime for two GPUs that do not exist.
//
// Device memory is memory of the host, so copies are real. A launch is checked and noted, and it
// computes nothing. Streams do everything at once, in order. What may not be done while a stream is
// captured is refused, as the CUDA Programming Guide has it ("Prohibited and Unhandled Operations"
// of stream capture); so are copies of pageable memory and frees, for which CUDA may wait.

#define _GNU_SOURCE
#include "stub.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GPUS 2
#define MEMORY 80000000000ull  // bytes of each
#define PAGE 4096
static __thread int current;  // the GPU of the thread

// --- what happened -------------------------------------------------------------------------------
struct event { int32_t kind, place; const char *name; uint64_t address, bytes; };
struct event *stub_events;
size_t stub_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void stub_note(enum kind kind, enum place place, const char *name, const void *address,
               size_t bytes) {
  static size_t room;
  pthread_mutex_lock(&lock);
  if (stub_count == room) {
    room = room ? 2 * room : PAGE;
    stub_events = realloc(stub_events, room * sizeof *stub_events);
  }
  stub_events[stub_count++] = (struct event){kind, place, name, (uintptr_t)address, bytes};
  pthread_mutex_unlock(&lock);
}

// A function of the runtime that is not in this file; build.py finds them.
int stub_unknown(const char *name) {
  fprintf(stderr, "gpu_stub: %s is called, of which runtime.c has nothing\n", name);
  return stub_refuse(name, cudaErrorNotSupported);
}

// --- streams and recordings ----------------------------------------------------------------------
struct CUstream_st { int device, blocking, destroyed; };
static struct { cudaStream_t stream; int strict, valid; } recording;  // one at a time

static int is_default(cudaStream_t s) { return (uintptr_t)s <= 2; }  // NULL, and two constants
static int is_recorded(cudaStream_t s) { return s && s == recording.stream; }
static enum place outside(void) { return recording.stream ? ASIDE : NOW; }

cudaError_t stub_refuse(const char *call, cudaError_t error) {
  recording.valid = 0;
  stub_note(REFUSED, outside(), call, NULL, error);
  return error;
}
cudaError_t stub_enqueue(const char *call, cudaStream_t s, enum place *place) {
  *place = is_recorded(s) ? NODE : outside();
  if (!is_default(s) && s->destroyed) return stub_refuse(call, cudaErrorInvalidResourceHandle);
  if (*place == NODE && !recording.valid) return cudaErrorStreamCaptureInvalidated;
  if (*place == ASIDE && is_default(s) && recording.stream->blocking)
    return stub_refuse(call, cudaErrorStreamCaptureImplicit);
  return 0;
}
cudaError_t stub_unsafe(const char *call) {
  int refused = recording.stream && recording.strict;
  return refused ? stub_refuse(call, cudaErrorStreamCaptureUnsupported) : 0;
}
static cudaError_t wait_for(const char *call, cudaStream_t s) {
  enum place place;
  if (is_recorded(s)) return stub_refuse(call, cudaErrorStreamCaptureUnsupported);
  cudaError_t error = stub_enqueue(call, s, &place);
  if (!error) stub_note(WAIT, place, call, NULL, 0);
  return error;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
  *s = malloc(sizeof **s);
  **s = (struct CUstream_st){current, !(flags & cudaStreamNonBlocking), 0};
  return 0;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) {
  return cudaStreamCreateWithPriority(s, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { s->destroyed = 1; return 0; }
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) { *priority = 0; return 0; }
cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *flags) {
  *flags = is_default(s) || s->blocking ? cudaStreamDefault : cudaStreamNonBlocking;
  return 0;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return wait_for(__func__, s); }
cudaError_t cudaStreamQuery(cudaStream_t s) { return wait_for(__func__, s); }
cudaError_t cudaDeviceSynchronize(void) { return wait_for(__func__, recording.stream); }

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  if (is_default(s)) return stub_refuse(__func__, cudaErrorStreamCaptureUnsupported);
  if (recording.stream) return stub_refuse(__func__, cudaErrorIllegalState);
  recording.stream = s, recording.valid = 1;
  recording.strict = mode != cudaStreamCaptureModeRelaxed;
  stub_note(BEGIN, NOW, __func__, s, 0);
  return 0;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
  if (!is_recorded(s)) return stub_refuse(__func__, cudaErrorIllegalState);
  recording.stream = NULL;
  *graph = recording.valid ? malloc(1) : NULL;
  stub_note(END, NOW, __func__, *graph, 0);
  return *graph ? 0 : cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
  *status = is_recorded(s) ? recording.valid ? cudaStreamCaptureStatusActive
                                             : cudaStreamCaptureStatusInvalidated
                           : cudaStreamCaptureStatusNone;
  return 0;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags) {
  *e = (cudaGraphExec_t)g;
  return 0;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t e, cudaStream_t s) { return 0; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  if (!error) stub_note(REPLAY, place, __func__, e, 0);
  return error;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) { return 0; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return 0; }

struct CUevent_st { int captured; };

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) {
  *e = calloc(1, sizeof **e);
  return 0;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { free(e); return 0; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  e->captured = place == NODE;
  return error;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  return e->captured ? stub_refuse(__func__, cudaErrorCapturedEvent) : 0;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  if (e->captured) return stub_refuse(__func__, cudaErrorCapturedEvent);
  stub_note(WAIT, outside(), __func__, NULL, 0);
  return 0;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) {
  *ms = 1;
  return a->captured || b->captured ? stub_refuse(__func__, cudaErrorCapturedEvent) : 0;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) {
  if (is_recorded(s) && !e->captured) return stub_refuse(__func__, cudaErrorStreamCaptureIsolation);
  if (!is_recorded(s) && e->captured) return stub_unknown("cudaStreamWaitEvent, of two streams,");
  return 0;
}

// --- memory --------------------------------------------------------------------------------------
enum { PINNED = -1 };  // the "device" of memory of the host that CUDA gives out
struct range { char *start; size_t bytes; int device; struct range *next; };
static struct range *ranges;
static size_t used[GPUS];

static struct range **find(const void *address) {  // the link to the range that holds it
  struct range **link = &ranges;
  while (*link && (size_t)((char *)address - (*link)->start) >= (*link)->bytes)
    link = &(*link)->next;
  return link;
}
static int on_device(const struct range *r) { return r && r->device != PINNED; }

static cudaError_t allocate(const char *call, void **p, size_t bytes, int device) {
  size_t whole = bytes ? bytes + -bytes % PAGE : PAGE;
  cudaError_t error = stub_unsafe(call);
  if (error) return error;
  if (device != PINNED && used[device] + whole > MEMORY) return cudaErrorMemoryAllocation;
  int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;  // takes no memory until it is written
  *p = mmap(NULL, whole, PROT_READ | PROT_WRITE, how, -1, 0);
  if (*p == MAP_FAILED) return cudaErrorMemoryAllocation;
  pthread_mutex_lock(&lock);
  struct range *r = malloc(sizeof *r);
  *r = (struct range){*p, whole, device, ranges};
  ranges = r;
  if (device != PINNED) used[device] += whole;
  pthread_mutex_unlock(&lock);
  return 0;
}
static cudaError_t release(const char *call, void *p) {
  if (!p) return 0;
  if (recording.stream) return stub_refuse(call, cudaErrorStreamCaptureUnsupported);
  pthread_mutex_lock(&lock);
  struct range **link = find(p), *r = *link;
  if (r) {
    *link = r->next;
    if (on_device(r)) used[r->device] -= r->bytes;
    munmap(r->start, r->bytes);
    free(r);
  }
  pthread_mutex_unlock(&lock);
  return r ? 0 : stub_refuse(call, cudaErrorInvalidValue);
}
cudaError_t cudaMalloc(void **p, size_t n) { return allocate(__func__, p, n, current); }
cudaError_t cudaFree(void *p) { return release(__func__, p); }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned flags) {
  return allocate(__func__, p, n, PINNED);
}
cudaError_t cudaFreeHost(void *p) { return release(__func__, p); }
cudaError_t cudaMemGetInfo(size_t *left, size_t *total) {
  *total = MEMORY, *left = MEMORY - used[current];
  return 0;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  const struct range *r = *find(p);
  *a = (struct cudaPointerAttributes){
      .type = on_device(r) ? cudaMemoryTypeDevice : r ? cudaMemoryTypeHost
                                                      : cudaMemoryTypeUnregistered,
      .device = on_device(r) ? r->device : cudaInvalidDeviceId,
      .devicePointer = r ? (void *)p : NULL,
      .hostPointer = on_device(r) ? NULL : (void *)p};
  return 0;
}

// A pool of CuPy gives out a block. It holds zeros, as if a kernel that computed something had
// written them, and not what the host copied to an earlier array in its place.
void stub_born(char *start, size_t bytes) {
  char *end = start + bytes;
  char *first = start + -(uintptr_t)start % PAGE, *last = end - (uintptr_t)end % PAGE;
  if (first < last) {
    madvise(first, last - first, MADV_DONTNEED);  // pages of zeros when they are next read
    memset(start, 0, first - start);
    memset(last, 0, end - last);
  } else {
    memset(start, 0, bytes);
  }
  stub_note(BORN, outside(), "", start, bytes);
}

static int overruns(const struct range *r, const void *p, size_t bytes) {
  return r && (char *)p + bytes > r->start + r->bytes;
}
static cudaError_t copy(const char *call, void *to, const void *from, size_t n, cudaStream_t s) {
  enum place place;
  const struct range *target = *find(to), *source = *find(from);
  cudaError_t error = stub_enqueue(call, s, &place);
  if (error) return error;
  if (overruns(target, to, n) || overruns(source, from, n))
    return stub_refuse(call, cudaErrorInvalidValue);
  if (place == NODE && (!target || !source))  // pageable
    return stub_refuse(call, cudaErrorStreamCaptureUnsupported);
  if (place != NODE) memmove(to, from, n);
  if (on_device(target)) {
    stub_note(on_device(source) ? ON_DEVICE : TO_DEVICE, place, call, to, n);
  } else if (on_device(source)) {
    stub_note(TO_HOST, place, call, from, n);
  }
  return 0;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
                            cudaStream_t s) {
  return copy(__func__, to, from, n, s);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
  cudaError_t error = stub_unsafe(__func__);
  if (!error) error = copy(__func__, to, from, n, NULL);
  return error ? error : wait_for(__func__, NULL);
}
cudaError_t cudaMemcpyPeerAsync(void *to, int there, const void *from, int here, size_t n,
                                cudaStream_t s) {
  return copy(__func__, to, from, n, s);
}
cudaError_t cudaMemcpyPeer(void *to, int there, const void *from, int here, size_t n) {
  return copy(__func__, to, from, n, NULL);
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  if (error) return error;
  if (overruns(*find(p), p, n)) return stub_refuse(__func__, cudaErrorInvalidValue);
  if (place != NODE) memset(p, value, n);
  stub_note(LAUNCH, place, __func__, p, n);
  return 0;
}
cudaError_t cudaMemset(void *p, int value, size_t n) { return cudaMemsetAsync(p, value, n, NULL); }

// --- launches ------------------------------------------------------------------------------------
cudaError_t stub_launch(const char *name, dim3 grid, dim3 block, size_t shared, size_t most,
                        cudaStream_t s, enum place *place) {
  cudaError_t error = stub_enqueue(name, s, place);
  if (error) return error;
  if (!is_default(s) && s->device != current)
    return stub_refuse(name, cudaErrorInvalidResourceHandle);
  size_t threads = (size_t)block.x * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
      !threads || threads > 1024 || shared > most)
    return stub_refuse(name, cudaErrorInvalidConfiguration);
  stub_note(LAUNCH, *place, name, NULL, 0);
  return 0;
}

// Kernels that nvcc compiled into CuPy, which sort and reduce, go by the name of the library.
static const char *library_of(const void *function) {
  Dl_info found;
  const char *slash = dladdr(function, &found) ? strrchr(found.dli_fname, '/') : NULL;
  return slash ? slash + 1 : "a kernel of CuPy";
}
cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                             cudaStream_t s) {
  enum place place;
  return stub_launch(library_of(f), grid, block, shared, 49152, s, &place);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **args) {
  return cudaLaunchKernel(f, c->gridDim, c->blockDim, args, c->dynamicSmemBytes, c->stream);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared,
                               cudaStream_t s) {
  return cudaLaunchKernel(k, grid, block, args, shared, s);
}
cudaError_t __cudaGetKernel(cudaKernel_t *k, const void *f) { *k = (cudaKernel_t)f; return 0; }

static __thread struct { dim3 grid, block; size_t shared; void *stream; } pushed;  // f<<<...>>>

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  pushed.grid = grid, pushed.block = block, pushed.shared = shared, pushed.stream = stream;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared;
  *(void **)stream = pushed.stream;
  return 0;
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  *a = (struct cudaFuncAttributes){.binaryVersion = 90, .ptxVersion = 90, .numRegs = 32,
                                   .maxThreadsPerBlock = 1024, .maxDynamicSharedSizeBytes = 49152};
  return 0;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f,
                                                                   int threads, size_t shared,
                                                                   unsigned flags) {
  *n = 2;
  return 0;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *f, int threads,
                                                          size_t shared) {
  *n = 2;
  return 0;
}

// --- devices, versions, errors -------------------------------------------------------------------
cudaError_t cudaGetDeviceCount(int *n) { *n = GPUS; return 0; }
cudaError_t cudaGetDevice(int *n) { *n = current; return 0; }
cudaError_t cudaSetDevice(int n) {
  if (n < 0 || n >= GPUS) return cudaErrorInvalidDevice;
  current = n;
  return 0;
}
cudaError_t cudaDeviceCanAccessPeer(int *yes, int a, int b) { *yes = 0; return 0; }
cudaError_t cudaDriverGetVersion(int *v) { *v = 13000; return 0; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = CUDART_VERSION; return 0; }

// Both as of an H100.
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  *p = (struct cudaDeviceProp){
      .name = "a GPU that does not exist", .totalGlobalMem = MEMORY, .major = 9, .warpSize = 32,
      .multiProcessorCount = 132, .maxThreadsPerMultiProcessor = 2048, .regsPerBlock = 65536,
      .sharedMemPerBlock = 49152, .sharedMemPerBlockOptin = 232448, .maxThreadsPerBlock = 1024,
      .maxGridSize = {INT32_MAX, 65535, 65535}, .maxThreadsDim = {1024, 1024, 64}};
  return 0;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  static const int values[] = {
      [cudaDevAttrComputeCapabilityMajor] = 9, [cudaDevAttrWarpSize] = 32,
      [cudaDevAttrMultiProcessorCount] = 132, [cudaDevAttrMaxThreadsPerMultiProcessor] = 2048,
      [cudaDevAttrMaxBlocksPerMultiprocessor] = 32, [cudaDevAttrMaxThreadsPerBlock] = 1024,
      [cudaDevAttrMaxBlockDimX] = 1024, [cudaDevAttrMaxBlockDimY] = 1024,
      [cudaDevAttrMaxBlockDimZ] = 64, [cudaDevAttrMaxGridDimX] = INT32_MAX,
      [cudaDevAttrMaxGridDimY] = 65535, [cudaDevAttrMaxGridDimZ] = 65535,
      [cudaDevAttrMaxSharedMemoryPerBlock] = 49152,
      [cudaDevAttrMaxSharedMemoryPerBlockOptin] = 232448,
      [cudaDevAttrMaxSharedMemoryPerMultiprocessor] = 233472,
      [cudaDevAttrMaxRegistersPerBlock] = 65536,
      [cudaDevAttrMaxRegistersPerMultiprocessor] = 65536};
  *value = (size_t)attribute < sizeof values / sizeof *values ? values[attribute] : 0;
  return 0;
}
cudaError_t cudaDeviceGetPCIBusId(char *id, int n, int device) {
  snprintf(id, n, "0000:%02x:00.0", device + 1);
  return 0;
}
cudaError_t cudaGetLastError(void) { return 0; }
cudaError_t cudaPeekAtLastError(void) { return 0; }

#define ERRORS(_) \
  _(cudaErrorInvalidValue, "invalid argument") \
  _(cudaErrorMemoryAllocation, "out of memory") \
  _(cudaErrorInvalidConfiguration, "invalid configuration argument") \
  _(cudaErrorInvalidDevice, "invalid device ordinal") \
  _(cudaErrorInvalidKernelImage, "device kernel image is invalid") \
  _(cudaErrorInvalidResourceHandle, "invalid resource handle") \
  _(cudaErrorIllegalState, "illegal state") \
  _(cudaErrorSymbolNotFound, "named symbol not found") \
  _(cudaErrorNotSupported, "operation not supported") \
  _(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing") \
  _(cudaErrorStreamCaptureInvalidated, "operation failed due to an error during capture") \
  _(cudaErrorStreamCaptureIsolation, "captured work would depend on work that is not") \
  _(cudaErrorStreamCaptureImplicit, "the legacy stream would depend on a capturing stream") \
  _(cudaErrorCapturedEvent, "operation not permitted on an event recorded in a capture")
#define NAME(error, text) case error: return #error;
#define TEXT(error, text) case error: return text;

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) { ERRORS(NAME) default: return "cudaErrorUnknown"; }
}
const char *cudaGetErrorString(cudaError_t error) {
  switch (error) { ERRORS(TEXT) default: return "unknown error"; }
}
