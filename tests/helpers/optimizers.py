"""Each optimizer beside its PyTorch namesake, and a module of parameters for them to train."""

import numpy as np
import torch

import minigrad as mg
from minigrad import nn, optim


class Net(nn.Module):
    """Shapes that matter to the optimizer: 0-d, empty, small, larger than one piece; a tied one."""

    def __init__(self, dtype):
        rng = np.random.default_rng(1)
        for name, shape in SHAPES.items():
            setattr(self, name, nn.Parameter(mg.tensor(rng.standard_normal(shape).astype(dtype))))
        self.tied = self.small


SHAPES = {
    "small": (3, 4),
    "scalar": (),
    "empty": (0, 3),
    "large": (300, 250),
    "rare": (5,),
    "never": (2,),
}


OPTIMIZERS = {
    "sgd": (optim.SGD, torch.optim.SGD, {"lr": 0.1}),
    "sgd_decay": (optim.SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "sgd_momentum": (
        optim.SGD,
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.3},
    ),
    "sgd_nesterov": (
        optim.SGD,
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
    ),
    "sgd_maximize": (
        optim.SGD,
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3, "maximize": True},
    ),
    "adam": (optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    "adam_decay": (
        optim.Adam,
        torch.optim.Adam,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "adam_amsgrad": (
        optim.Adam,
        torch.optim.Adam,
        {"lr": 0.01, "betas": (0.8, 0.5), "weight_decay": 0.3, "amsgrad": True},
    ),
    "adam_maximize": (
        optim.Adam,
        torch.optim.Adam,
        {"lr": 0.01, "weight_decay": 0.3, "maximize": True},
    ),
    "adamw": (optim.AdamW, torch.optim.AdamW, {"lr": 0.01}),
    "adamw_decay": (
        optim.AdamW,
        torch.optim.AdamW,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 1.0},
    ),
    "adamw_amsgrad_maximize": (
        optim.AdamW,
        torch.optim.AdamW,
        {"lr": 0.01, "betas": (0.8, 0.5), "weight_decay": 0.3, "amsgrad": True, "maximize": True},
    ),
}
