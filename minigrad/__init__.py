"""minigrad: tensors and automatic differentiation on NumPy and CuPy, small enough to read."""

from minigrad import debug, nn, ops, optim, random
from minigrad.capture import CaptureError, capture
from minigrad.create import arange, from_dlpack, full, ones, tensor, zeros
from minigrad.device import use_device
from minigrad.files import (
    CheckpointError,
    load,
    load_checkpoint,
    load_metadata,
    save,
    save_checkpoint,
)
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.indices import check_indices
from minigrad.kernel import use_kernels
from minigrad.modes import enable_grad, is_grad_enabled, no_grad
from minigrad.op import op
from minigrad.ops import *  # noqa: F403
from minigrad.recompute import checkpoint
from minigrad.tensor import Tensor
from minigrad.transforms import grad, value_and_grad

__version__ = "0.1.0"
__all__ = [
    "CaptureError",
    "CheckpointError",
    "GradcheckError",
    "Tensor",
    "arange",
    "capture",
    "check_indices",
    "checkpoint",
    "debug",
    "enable_grad",
    "from_dlpack",
    "full",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "load",
    "load_checkpoint",
    "load_metadata",
    "nn",
    "no_grad",
    "ones",
    "op",
    "ops",
    "optim",
    "random",
    "save",
    "save_checkpoint",
    "tensor",
    "use_device",
    "use_kernels",
    "value_and_grad",
    "zeros",
]
__all__ += ops.__all__
