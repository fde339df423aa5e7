// cuBLAS: whatever is computed counts as one launch, on the stream of the handle.
//
// build.py adds the functions by which CuPy computes. Those written here come before it computes,
// and before nvmath-python does.

#include "stub.h"
#include <stdlib.h>

typedef struct { cudaStream_t stream; } *handle_t;

int cublasCreate_v2(handle_t *h) { return !(*h = calloc(1, sizeof **h)); }
int cublasDestroy_v2(handle_t h) { free(h); return 0; }
int cublasSetStream_v2(handle_t h, cudaStream_t s) { h->stream = s; return 0; }
int cublasGetStream_v2(handle_t h, cudaStream_t *s) { *s = h->stream; return 0; }
int cublasSetWorkspace_v2(handle_t h, void *address, size_t bytes) { return 0; }
int cublasSetMathMode(handle_t h, int mode) { return 0; }
int cublasGetMathMode(handle_t h, int *mode) { *mode = 0; return 0; }
int cublasSetPointerMode_v2(handle_t h, int mode) { return 0; }
int cublasGetPointerMode_v2(handle_t h, int *mode) { *mode = 0; return 0; }
int cublasGetVersion_v2(handle_t h, int *version) { *version = 120900; return 0; }

int stub_compute(handle_t h, const char *name) {
  enum place place;
  if (stub_enqueue(name, h->stream, &place)) return 13;  // CUBLAS_STATUS_EXECUTION_FAILED
  stub_note(LAUNCH, place, name, NULL, 0);
  return 0;
}
