# SPDX-License-Identifier: Apache-2.0
"""Gradient clipping, parameters as one vector, sequences of several lengths, parameters as functions of others, fusion."""
# ruff: noqa: F401, F403
from . import parametrizations, parametrize, prune, rnn
from .clip_grad import *
from .convert_parameters import *
from .fusion import *
from .parametrizations import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
