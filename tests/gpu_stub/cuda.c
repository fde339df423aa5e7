// CUDA's runtime, and what CuPy calls of its driver, for two GPUs that do not exist.
//
// Device memory is memory of the host, so copies are real. A launch is checked and noted, and
// computes nothing. Streams do everything at once, in order. What may not be done while a stream is
// captured is refused as in the CUDA C++ Programming Guide, "Creating a Graph Using Stream Capture".

#define _GNU_SOURCE
#include "stub.h"
#include <cuda.h>
#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GPUS 2
#define MEMORY 80000000000ull  // bytes of each
static __thread int current;

// --- what happened -------------------------------------------------------------------------------
struct event { int32_t kind, place; const char *name; uint64_t address, bytes; };
struct event *stub_events;
size_t stub_count;
static size_t room;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void stub_note(enum kind kind, enum place place, const char *name, const void *address, size_t bytes) {
  pthread_mutex_lock(&lock);
  if (stub_count == room) {
    room = room ? 2 * room : 1 << 12;
    stub_events = realloc(stub_events, room * sizeof *stub_events);
  }
  stub_events[stub_count++] = (struct event){kind, place, name, (uintptr_t)address, bytes};
  pthread_mutex_unlock(&lock);
}

// A function of the runtime that nothing here stands for (build.py finds them).
int stub_unknown(const char *name) {
  fprintf(stderr, "gpu_stub: %s is called, for which there is nothing in cuda.c\n", name);
  return stub_refuse(name, cudaErrorNotSupported);
}

// --- streams and recordings ----------------------------------------------------------------------
struct CUstream_st { int device, blocking, destroyed; };
struct CUevent_st { int captured; };
struct CUgraph_st { size_t nodes; };
static struct { cudaStream_t stream; enum cudaStreamCaptureMode mode; int valid; size_t nodes; } recording;

static int is_default(cudaStream_t s) { return (uintptr_t)s <= 2; }  // NULL and two special values
static int is_recorded(cudaStream_t s) { return s && s == recording.stream; }

cudaError_t stub_refuse(const char *call, cudaError_t error) {
  recording.valid = 0;
  stub_note(REFUSED, recording.stream ? ASIDE : NOW, call, NULL, error);
  return error;
}

cudaError_t stub_enqueue(const char *call, cudaStream_t stream, enum place *place) {
  *place = !recording.stream ? NOW : is_recorded(stream) ? NODE : ASIDE;
  if (!is_default(stream) && stream->destroyed) return stub_refuse(call, cudaErrorInvalidResourceHandle);
  if (*place == NODE && !recording.valid) return cudaErrorStreamCaptureInvalidated;
  if (*place == ASIDE && is_default(stream) && recording.stream->blocking)
    return stub_refuse(call, cudaErrorStreamCaptureImplicit);
  recording.nodes += *place == NODE;
  return cudaSuccess;
}

// The host waits for a stream, or looks whether it is done.
static cudaError_t wait_for(const char *call, cudaStream_t stream) {
  enum place place;
  if (is_recorded(stream)) return stub_refuse(call, cudaErrorStreamCaptureUnsupported);
  cudaError_t error = stub_enqueue(call, stream, &place);
  if (!error) stub_note(WAIT, place, call, NULL, 0);
  return error;
}

// What a capture in the strict modes, which are not CuPy's, does not allow.
static cudaError_t unsafe(const char *call) {
  int strict = recording.stream && recording.mode != cudaStreamCaptureModeRelaxed;
  return strict ? stub_refuse(call, cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
  *s = malloc(sizeof **s);
  **s = (struct CUstream_st){current, !(flags & cudaStreamNonBlocking), 0};
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) {
  return cudaStreamCreateWithPriority(s, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { s->destroyed = 1; return cudaSuccess; }
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *p) { *p = 0; return cudaSuccess; }
cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *flags) {
  *flags = is_default(s) || s->blocking ? cudaStreamDefault : cudaStreamNonBlocking;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) { return wait_for(__func__, s); }
cudaError_t cudaStreamQuery(cudaStream_t s) { return wait_for(__func__, s); }
cudaError_t cudaDeviceSynchronize(void) {
  if (recording.stream) return stub_refuse(__func__, cudaErrorStreamCaptureUnsupported);
  stub_note(WAIT, NOW, __func__, NULL, 0);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  if (is_default(s)) return stub_refuse(__func__, cudaErrorStreamCaptureUnsupported);
  if (recording.stream) return stub_refuse(__func__, cudaErrorIllegalState);  // one at a time, here
  recording.stream = s, recording.mode = mode, recording.valid = 1, recording.nodes = 0;
  stub_note(BEGIN, NOW, __func__, s, 0);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
  if (!is_recorded(s)) return stub_refuse(__func__, cudaErrorIllegalState);
  recording.stream = NULL;
  *graph = NULL;
  if (recording.valid) {
    *graph = malloc(sizeof **graph);
    (*graph)->nodes = recording.nodes;
  }
  stub_note(END, NOW, __func__, *graph, recording.nodes);
  return recording.valid ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
  *status = !is_recorded(s)    ? cudaStreamCaptureStatusNone
            : recording.valid ? cudaStreamCaptureStatusActive
                              : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags) {
  *e = (cudaGraphExec_t)g;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t e, cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  if (!error) stub_note(REPLAY, place, __func__, e, ((cudaGraph_t)e)->nodes);
  return error;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return cudaSuccess; }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) {
  *e = calloc(1, sizeof **e);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) { free(e); return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  e->captured = place == NODE;
  return error;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  return e->captured ? stub_refuse(__func__, cudaErrorCapturedEvent) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  if (e->captured) return stub_refuse(__func__, cudaErrorCapturedEvent);
  stub_note(WAIT, recording.stream ? ASIDE : NOW, __func__, NULL, 0);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) {
  *ms = 1;
  return a->captured || b->captured ? stub_refuse(__func__, cudaErrorCapturedEvent) : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) {
  if (is_recorded(s) && !e->captured) return stub_refuse(__func__, cudaErrorStreamCaptureIsolation);
  if (!is_recorded(s) && e->captured) return stub_unknown("cudaStreamWaitEvent of a second stream");
  return cudaSuccess;
}

// --- memory --------------------------------------------------------------------------------------
struct range { const char *start; size_t bytes; int device; struct range *next; };
enum { PINNED = -1 };  // the "device" of memory of the host that CUDA gave
static struct range *ranges;
static size_t used[GPUS];

static struct range **find(const void *address) {  // where the range is linked that holds it
  struct range **r = &ranges;
  while (*r && !((*r)->start <= (char *)address && (char *)address < (*r)->start + (*r)->bytes))
    r = &(*r)->next;
  return r;
}

static cudaError_t allocate(const char *call, void **p, size_t bytes, int device) {
  size_t whole = bytes + -bytes % 4096;
  cudaError_t error = unsafe(call);
  if (error) return error;
  if (device >= 0 && used[device] + whole > MEMORY) return cudaErrorMemoryAllocation;
  int options = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;  // zeros, and no pages until written
  *p = mmap(NULL, whole ? whole : 4096, PROT_READ | PROT_WRITE, options, -1, 0);
  if (*p == MAP_FAILED) return cudaErrorMemoryAllocation;
  pthread_mutex_lock(&lock);
  struct range *r = malloc(sizeof *r);
  *r = (struct range){*p, whole ? whole : 4096, device, ranges};
  ranges = r;
  if (device >= 0) used[device] += r->bytes;
  pthread_mutex_unlock(&lock);
  return cudaSuccess;
}
static cudaError_t release(const char *call, void *p) {
  if (!p) return cudaSuccess;
  if (recording.stream) return stub_refuse(call, cudaErrorStreamCaptureUnsupported);  // it waits
  pthread_mutex_lock(&lock);
  struct range **link = find(p), *r = *link;
  if (r) {
    *link = r->next;
    if (r->device >= 0) used[r->device] -= r->bytes;
    munmap(p, r->bytes);
    free(r);
  }
  pthread_mutex_unlock(&lock);
  return r ? cudaSuccess : stub_refuse(call, cudaErrorInvalidValue);
}
cudaError_t cudaMalloc(void **p, size_t n) { return allocate(__func__, p, n, current); }
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned f) { return allocate(__func__, p, n, PINNED); }
cudaError_t cudaFree(void *p) { return release(__func__, p); }
cudaError_t cudaFreeHost(void *p) { return release(__func__, p); }
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *total = MEMORY, *free_bytes = MEMORY - used[current];
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  struct range *r = *find(p);
  memset(a, 0, sizeof *a);
  a->device = r ? r->device : cudaInvalidDeviceId;
  a->type = !r                  ? cudaMemoryTypeUnregistered
            : r->device == PINNED ? cudaMemoryTypeHost
                                  : cudaMemoryTypeDevice;
  if (r) a->devicePointer = (void *)p;
  if (a->type == cudaMemoryTypeHost) a->hostPointer = (void *)p;
  return cudaSuccess;
}

// A block of a pool of CuPy is given out: it holds zeros, as if a kernel that computed something had
// written them, and not the ids or weights that were copied to an earlier array in its place.
void stub_born(char *start, size_t bytes) {
  char *page = start + -(uintptr_t)start % 4096;
  char *end = start + bytes - (uintptr_t)(start + bytes) % 4096;
  if (page >= end) {
    memset(start, 0, bytes);
  } else {
    memset(start, 0, page - start);
    madvise(page, end - page, MADV_DONTNEED);  // pages of zeros, when they are next read
    memset(end, 0, start + bytes - end);
  }
  stub_note(BORN, recording.stream ? ASIDE : NOW, "", start, bytes);
}

// What `all` computes is read back as true, so that checks find nothing wrong.
static __thread const char *last_kernel = "";

static int overruns(struct range *r, const void *p, size_t bytes) {
  return r && (char *)p + bytes > r->start + r->bytes;
}
static cudaError_t copy(const char *call, void *to, const void *from, size_t bytes, cudaStream_t s) {
  struct range *target = *find(to), *source = *find(from);
  int there = target && target->device != PINNED, here = source && source->device != PINNED;
  enum kind way = there ? here ? ON_DEVICE : TO_DEVICE : here ? TO_HOST : ON_HOST;
  enum place place;
  cudaError_t error = stub_enqueue(call, s, &place);
  if (error) return error;
  if (overruns(target, to, bytes) || overruns(source, from, bytes))
    return stub_refuse(call, cudaErrorInvalidValue);
  if (place == NODE && (!target || !source))  // pageable memory of the host
    return stub_refuse(call, cudaErrorStreamCaptureUnsupported);
  stub_note(way, place, call, to, bytes);
  if (place != NODE) memmove(to, from, bytes);
  if (way == TO_HOST && bytes == 1 && strstr(last_kernel, "_all")) *(char *)to = 1;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s) {
  return copy(__func__, to, from, n, s);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
  cudaError_t error = unsafe(__func__);
  if (!error) error = copy(__func__, to, from, n, NULL);
  if (!error) error = wait_for(__func__, NULL);
  return error;
}
cudaError_t cudaMemcpyPeerAsync(void *to, int there, const void *from, int here, size_t n, cudaStream_t s) {
  return copy(__func__, to, from, n, s);
}
cudaError_t cudaMemcpyPeer(void *to, int there, const void *from, int here, size_t n) {
  return copy(__func__, to, from, n, NULL);
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s) {
  enum place place;
  cudaError_t error = stub_enqueue(__func__, s, &place);
  if (error || overruns(*find(p), p, n)) return error ? error : stub_refuse(__func__, cudaErrorInvalidValue);
  stub_note(LAUNCH, place, __func__, p, n);
  if (place != NODE) memset(p, value, n);
  return cudaSuccess;
}
cudaError_t cudaMemset(void *p, int value, size_t n) { return cudaMemsetAsync(p, value, n, NULL); }

// --- devices and versions ------------------------------------------------------------------------
cudaError_t cudaGetDeviceCount(int *n) { *n = GPUS; return cudaSuccess; }
cudaError_t cudaGetDevice(int *n) { *n = current; return cudaSuccess; }
cudaError_t cudaSetDevice(int n) {
  if (n < 0 || n >= GPUS) return cudaErrorInvalidDevice;
  current = n;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *v) { *v = 13000; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int *yes, int a, int b) { *yes = 0; return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {  // of an H100
  *p = (struct cudaDeviceProp){
      .name = "GPU stub", .totalGlobalMem = MEMORY, .major = 9, .multiProcessorCount = 132,
      .sharedMemPerBlock = 49152, .sharedMemPerBlockOptin = 232448, .warpSize = 32,
      .maxThreadsPerBlock = 1024, .maxThreadsPerMultiProcessor = 2048, .regsPerBlock = 65536,
      .maxGridSize = {2147483647, 65535, 65535}, .maxThreadsDim = {1024, 1024, 64}};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  static const int of[] = {
      [cudaDevAttrMaxThreadsPerBlock] = 1024, [cudaDevAttrMaxBlockDimX] = 1024,
      [cudaDevAttrMaxBlockDimY] = 1024, [cudaDevAttrMaxBlockDimZ] = 64,
      [cudaDevAttrMaxGridDimX] = 2147483647, [cudaDevAttrMaxGridDimY] = 65535,
      [cudaDevAttrMaxGridDimZ] = 65535, [cudaDevAttrMaxSharedMemoryPerBlock] = 49152,
      [cudaDevAttrMaxSharedMemoryPerBlockOptin] = 232448, [cudaDevAttrWarpSize] = 32,
      [cudaDevAttrMaxSharedMemoryPerMultiprocessor] = 233472,
      [cudaDevAttrMaxRegistersPerBlock] = 65536, [cudaDevAttrMaxRegistersPerMultiprocessor] = 65536,
      [cudaDevAttrMultiProcessorCount] = 132, [cudaDevAttrMaxThreadsPerMultiProcessor] = 2048,
      [cudaDevAttrComputeCapabilityMajor] = 9, [cudaDevAttrMaxBlocksPerMultiprocessor] = 32};
  *value = (size_t)attribute < sizeof of / sizeof *of ? of[attribute] : 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *id, int n, int device) {
  snprintf(id, n, "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}
cudaError_t cudaGetLastError(void) { return cudaSuccess; }
cudaError_t cudaPeekAtLastError(void) { return cudaSuccess; }

#define ERRORS(_)                                                                            \
  _(cudaSuccess, "no error")                                                                 \
  _(cudaErrorInvalidValue, "invalid argument")                                               \
  _(cudaErrorMemoryAllocation, "out of memory")                                              \
  _(cudaErrorInvalidConfiguration, "invalid configuration argument")                         \
  _(cudaErrorInvalidDevice, "invalid device ordinal")                                        \
  _(cudaErrorInvalidKernelImage, "device kernel image is invalid")                           \
  _(cudaErrorInvalidResourceHandle, "invalid resource handle")                               \
  _(cudaErrorIllegalState, "the operation cannot be performed in the present state")         \
  _(cudaErrorSymbolNotFound, "named symbol not found")                                       \
  _(cudaErrorNotSupported, "operation not supported")                                        \
  _(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")   \
  _(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture") \
  _(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")   \
  _(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing blocking stream") \
  _(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream")
#define NAME(error, text) case error: return #error;
#define TEXT(error, text) case error: return text;
const char *cudaGetErrorName(cudaError_t error) { switch (error) { ERRORS(NAME) default: return "cudaErrorUnknown"; } }
const char *cudaGetErrorString(cudaError_t error) { switch (error) { ERRORS(TEXT) default: return "unknown error"; } }

// --- kernels that nvcc compiled into CuPy: sorting and reducing ----------------------------------
static cudaError_t launch(const char *call, const char *name, dim3 grid, dim3 block, size_t shared,
                          size_t shared_limit, cudaStream_t stream) {
  enum place place;
  cudaError_t error = stub_enqueue(call, stream, &place);
  if (error) return error;
  if (!is_default(stream) && stream->device != current)
    return stub_refuse(name, cudaErrorInvalidResourceHandle);
  size_t threads = (size_t)block.x * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535 ||
      !threads || threads > 1024 || shared > shared_limit)
    return stub_refuse(name, cudaErrorInvalidConfiguration);
  stub_note(LAUNCH, place, last_kernel = name, NULL, 0);
  return cudaSuccess;
}
static const char *library_of(const void *function) {  // cub.cpython-311-x86_64-linux-gnu.so
  Dl_info where;
  const char *slash = dladdr(function, &where) ? strrchr(where.dli_fname, '/') : NULL;
  return slash ? slash + 1 : "a kernel of CuPy";
}
cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s) {
  return launch(__func__, library_of(f), grid, block, shared, 49152, s);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **args) {
  return launch(__func__, library_of(f), c->gridDim, c->blockDim, c->dynamicSmemBytes, 49152, c->stream);
}
cudaError_t __cudaGetKernel(cudaKernel_t *k, const void *f) { *k = (cudaKernel_t)f; return cudaSuccess; }
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s) {
  return cudaLaunchKernel(k, grid, block, args, shared, s);
}
static __thread struct { dim3 grid, block; size_t shared; void *stream; } pushed;  // by f<<<...>>>
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  pushed.grid = grid, pushed.block = block, pushed.shared = shared, pushed.stream = stream;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared, *(void **)stream = pushed.stream;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  *a = (struct cudaFuncAttributes){.binaryVersion = 90, .ptxVersion = 90, .maxThreadsPerBlock = 1024,
                                   .numRegs = 32, .maxDynamicSharedSizeBytes = 49152};
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int threads, size_t shared, unsigned flags) {
  *n = 2;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *f, int threads, size_t shared) {
  *n = 2;
  return cudaSuccess;
}

// --- the driver: modules and kernels compiled while the program runs ------------------------------
struct CUmod_st { const char *image; size_t bytes; int device; };
struct CUfunc_st { char *name; int device; size_t shared; };

CUresult cuGetErrorName(CUresult error, const char **name) {
  *name = "CUDA_ERROR";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {  // both number them alike
  *text = cudaGetErrorString((cudaError_t)error);
  return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int *v) { return (CUresult)cudaDriverGetVersion(v); }
CUresult cuCtxGetCurrent(CUcontext *c) { *c = (CUcontext)(uintptr_t)(current + 1); return CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice *device) { *device = current; return CUDA_SUCCESS; }
CUresult cuModuleLoadData(CUmodule *m, const void *image) {
  const Elf64_Ehdr *elf = image;
  if (unsafe(__func__)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (memcmp(elf->e_ident, ELFMAG, SELFMAG)) return (CUresult)stub_refuse(__func__, cudaErrorInvalidKernelImage);
  size_t bytes = elf->e_shoff + (size_t)elf->e_shnum * elf->e_shentsize;
  *m = malloc(sizeof **m);
  **m = (struct CUmod_st){memcpy(malloc(bytes), image, bytes), bytes, current};
  return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule m) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  if (!memmem(m->image, m->bytes, name, strlen(name) + 1))
    return (CUresult)stub_refuse(name, cudaErrorSymbolNotFound);
  *f = malloc(sizeof **f);
  **f = (struct CUfunc_st){strdup(name), m->device, 49152};
  return CUDA_SUCCESS;
}
CUresult cuModuleGetGlobal(CUdeviceptr *p, size_t *bytes, CUmodule m, const char *name) {
  if (bytes) *bytes = 4096;
  return (CUresult)cudaMalloc((void **)p, 4096);
}
// As CuPy gives an array of one axis to a kernel (its carray.cuh); one of no axis ends with its size.
struct carray { char *data; int64_t size, shape, stride; };

// The kernels by which CuPy writes one number everywhere, x and y of one type. They are computed, for
// it is how a program marks memory in which it will look for something else.
static int fills(const char *name) {
  return !strcmp(name, "cupy_fill") || !strcmp(name, "cupy_copy__int_int64");
}
static void fill(const void *x, const struct carray *y) {
  int one_axis = y->shape == y->size && y->stride > 0 && y->stride <= 16;
  for (int64_t i = 0; one_axis && i < y->size; i++) memcpy(y->data + i * y->stride, x, y->stride);
}

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, CUstream s, void **args, void **extra) {
  if (f->device != current) return (CUresult)stub_refuse(f->name, cudaErrorInvalidResourceHandle);
  dim3 grid = {gx, gy, gz}, block = {bx, by, bz};
  cudaError_t error = launch(__func__, f->name, grid, block, shared, f->shared, s);
  if (!error && !is_recorded(s) && fills(f->name)) fill(args[0], args[1]);
  return (CUresult)error;
}
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction f) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
           : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                : 0;  // nothing in local memory
  return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute attribute, int value) {
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value > 232448) return (CUresult)stub_refuse(f->name, cudaErrorInvalidValue);
    f->shared = value;
  }
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int threads, size_t shared) {
  *n = 2;
  return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction f, CUoccupancyB2DSize size, size_t shared, int limit) {
  *grid = 264, *block = 256;
  return CUDA_SUCCESS;
}
