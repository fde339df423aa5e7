"""Real CuPy on two GPUs that do not exist: everything but the values.

CuPy decides on the host what a GPU is to do: which function serves which types, the shapes and
dtypes of results, the blocks of its memory pools, the arguments of a launch, what a recording may
hold. All of that is CuPy's own code here, and NVRTC, Triton and ptxas compile as ever. Below them,
the CUDA runtime is another: device memory is memory of the host, copies are real, and a launch is
checked, noted and not computed. A capture forbids what CUDA forbids.

    runtime.c, driver.c, cublas.c    stand for CUDA
    build.py    compiles them with gcc, once, into build/gpu-stub
    patch.py    CuPy's wheel has the runtime compiled into it: there each function is made to jump
                into ours, when CuPy is imported
    log.py      what was launched, copied, waited for and refused, and mistakes that raise no error
    path/       on PYTHONPATH for processes on the stub, so that those they start are on it too
    run.py      starts them

    run("-m", "experiments.sanity", "--device", "cuda")

A new array holds zeros, as if kernels had computed them; so whatever the host reads is 0, or what
it copied there. Two things are as a program needs them in order to go on: `all` is true, and an
array that CuPy fills with one number has it. Functions of CUDA that nobody needed yet fail by name.
"""
