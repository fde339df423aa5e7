"""minigrad: tensors and automatic differentiation on NumPy and CuPy, small enough to read."""

from minigrad.ops import *  # noqa: F403
from minigrad.tensor import Tensor, from_dlpack, tensor
from minigrad.graph import enable_grad, is_grad_enabled, no_grad
from minigrad.op import op
from minigrad.transforms import checkpoint, grad, value_and_grad
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad import debug
from minigrad import nn, optim
from minigrad.files import CheckpointError, load, load_checkpoint, save, save_checkpoint
