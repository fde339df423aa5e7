"""The place for second implementations of hot ops: Triton for CUDA, a compiled path for the CPU.

There are none yet. A kernel will be a second body of the same op, with the same arguments,
gradients and errors, held to the plain body by parity tests.
"""
