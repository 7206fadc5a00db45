# SPDX-License-Identifier: Apache-2.0
"""Optimizers, learning-rate schedules and averages of weights."""
from . import lr_scheduler, swa_utils
from .adagrad import Adadelta, Adagrad, RMSprop
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .layerwise import LAMB, LARS, Adafactor
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .sgd import ASGD, SGD, Lion, Rprop

__all__ = [
    "ASGD", "LAMB", "LARS", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils",
]
