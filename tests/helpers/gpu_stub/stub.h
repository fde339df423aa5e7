// What the sources of the stub share. The enums are read by log.py, by their order.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

enum kind { LAUNCH, REPLAY, TO_DEVICE, TO_HOST, ON_DEVICE, WAIT, REFUSED, BEGIN, END, BORN };

// Work outside a recording, work done at once while something is recorded, or a node of the graph.
enum place { NOW, ASIDE, NODE };

// Add an event. The name is kept as it is, so it has to last.
void stub_note(enum kind, enum place, const char *name, const void *address, size_t bytes);

// An error, which makes a recording under way invalid; `call` is who is refused.
cudaError_t stub_refuse(const char *call, cudaError_t);

// Whether a stream takes work from `call`, and what becomes of it.
cudaError_t stub_enqueue(const char *call, cudaStream_t, enum place *);

// A kernel is launched: whether a GPU takes it. `most` is the shared memory that a block may have.
cudaError_t stub_launch(const char *name, dim3 grid, dim3 block, size_t shared, size_t most,
                        cudaStream_t, enum place *);

// Give and take no memory but in a capture that allows it (CuPy's does).
cudaError_t stub_unsafe(const char *call);
