"""Real CuPy on two GPUs that do not exist: everything but the values.

CuPy decides on the host what runs on a GPU: which function serves which types, shapes and dtypes of
results, the blocks of its memory pool, the arguments of a launch, what a capture may hold. All of
that is CuPy's own code here. NVRTC, Triton and ptxas compile as ever. Only the CUDA runtime below
them is another: `cuda.c`, in which device memory is memory of the host, copies are real, and a
launch is checked, counted and not computed. What a capture forbids, it refuses as CUDA does.

    build.py    compiles cuda.c and cublas.c with gcc, once, into build/gpu-stub
    patch.py    CuPy's wheel has the runtime compiled in: there each function is made to jump into
                ours. This has to happen before CuPy's first call, so on `import cupy`
    log.py      what was launched, copied, waited for and refused, and what is wrong with it
    path/       on PYTHONPATH for processes on the stub, so that all their children are on it too
    run.py      starts them: a program, or any command line

Every array of CuPy's pool begins as zeros, as if kernels had computed them: whatever the host reads
back is 0, or what was copied there. Functions of CUDA that nobody needed yet are not guessed at: they
say their name and fail.
"""
