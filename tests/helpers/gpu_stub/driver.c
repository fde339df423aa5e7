// What CuPy calls of CUDA's driver: machine code that was compiled while the program runs.
//
// The code is looked at for the names of its functions, and not run.

#define _GNU_SOURCE
#include "stub.h"
#include <cuda.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

struct CUmod_st { const char *image; size_t bytes; int device; };
struct CUfunc_st { char *name; int device; size_t shared; };

static int current(void) {
  int device;
  cudaGetDevice(&device);
  return device;
}
static CUresult refuse(const char *call, cudaError_t error) {  // numbered as the runtime does
  return (CUresult)stub_refuse(call, error);
}

CUresult cuGetErrorName(CUresult error, const char **name) { *name = "CUDA_ERROR"; return 0; }
CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = cudaGetErrorString((cudaError_t)error);
  return 0;
}
CUresult cuDriverGetVersion(int *v) { return (CUresult)cudaDriverGetVersion(v); }
CUresult cuCtxGetCurrent(CUcontext *c) { *c = (CUcontext)(uintptr_t)(current() + 1); return 0; }
CUresult cuCtxGetDevice(CUdevice *device) { *device = current(); return 0; }

CUresult cuModuleLoadData(CUmodule *m, const void *image) {
  const Elf64_Ehdr *elf = image;
  cudaError_t error = stub_unsafe(__func__);
  if (error) return (CUresult)error;
  if (memcmp(elf->e_ident, ELFMAG, SELFMAG)) return refuse(__func__, cudaErrorInvalidKernelImage);
  size_t bytes = elf->e_shoff + (size_t)elf->e_shnum * elf->e_shentsize;
  *m = malloc(sizeof **m);
  **m = (struct CUmod_st){memcpy(malloc(bytes), image, bytes), bytes, current()};
  return 0;
}
CUresult cuModuleUnload(CUmodule m) { return 0; }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
  if (!memmem(m->image, m->bytes, name, strlen(name) + 1))
    return refuse(strdup(name), cudaErrorSymbolNotFound);
  *f = malloc(sizeof **f);
  **f = (struct CUfunc_st){strdup(name), m->device, 49152};
  return 0;
}
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction f) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
  return 0;
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return 0;
  if (value > 232448) return refuse(f->name, cudaErrorInvalidValue);
  f->shared = value;
  return 0;
}

// An array of one axis, as CuPy gives it to a kernel (its carray.cuh); one of none ends with size.
struct carray { char *data; int64_t size, shape, stride; };

// Of what CuPy's kernels compute, as much as programs need to go on: one number written everywhere,
// (T x, CArray<T> y), and `all`, (CArray<T> x, CArray<bool> y), which is true.
static int is(const char *name, const char *other) { return !strcmp(name, other); }
static void fill(const void *x, const struct carray *y) {
  int one_axis = y->shape == y->size && y->stride > 0 && y->stride <= 16;
  for (int64_t i = 0; one_axis && i < y->size; i++) memcpy(y->data + i * y->stride, x, y->stride);
}
static void all(const void *x, const struct carray *y) { memset(y->data, 1, y->size); }
static void compute(const char *name, void **args) {
  if (is(name, "cupy_fill") || is(name, "cupy_copy__int_int64")) fill(args[0], args[1]);
  if (is(name, "cupy_all") || is(name, "cupy_cub_all") || is(name, "cupy_cub_all_pass2"))
    all(args[0], args[1]);
}

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared, CUstream s, void **args,
                        void **extra) {
  enum place place;
  dim3 grid = {gx, gy, gz}, block = {bx, by, bz};
  if (f->device != current()) return refuse(f->name, cudaErrorInvalidResourceHandle);
  cudaError_t error = stub_launch(f->name, grid, block, shared, f->shared, s, &place);
  if (!error && place != NODE) compute(f->name, args);
  return (CUresult)error;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int threads,
                                                     size_t shared) {
  *n = 2;
  return 0;
}
CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction f,
                                          CUoccupancyB2DSize size, size_t shared, int limit) {
  *grid = 264, *block = 256;
  return 0;
}
