// What happened, for Python to read: see log.py.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

enum kind { LAUNCH, REPLAY, TO_DEVICE, TO_HOST, ON_DEVICE, ON_HOST, WAIT, REFUSED, BEGIN, END, BORN };

// Work outside a recording, work done at once while something is recorded, or a node of the graph.
enum place { NOW, ASIDE, NODE };

void stub_note(enum kind kind, enum place place, const char *name, const void *address, size_t bytes);

// Whether a stream takes work, and what becomes of it; `call` is who gives it.
cudaError_t stub_enqueue(const char *call, cudaStream_t stream, enum place *place);

// An error, by which a recording under way becomes invalid.
cudaError_t stub_refuse(const char *call, cudaError_t error);
