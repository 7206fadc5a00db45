# SPDX-License-Identifier: Apache-2.0
"""Layers, losses and what models are built from: one file per family, whose __all__ is re-exported here."""
# ruff: noqa: F401, F403
from . import functional, init, utils
from .activation import *
from .adaptive_softmax import *
from .container import *
from .conv import *
from .distance import *
from .dropout import *
from .embedding_bag import *
from .lazy import *
from .linear import *
from .loss import *
from .module import *
from .multi_head_attention import *
from .norm import *
from .padding import *
from .parameter import *
from .pooling import *
from .pooling_index import *
from .recurrent import *
from .regions import *
from .transformer import *
from .vision import *
