# SPDX-License-Identifier: Apache-2.0
"""Functions behind the layers, with PyTorch's names and arguments, over the op table.

>>> import tengen.nn.functional as F
>>> F.max_pool2d(F.conv2d(x, weight, bias, padding=1).relu(), 2)

One file per family, whose __all__ is re-exported here; helpers of families are there for the layers.
"""
# ruff: noqa: F403
from ._accuracy import *
from ._activation import *
from ._arguments import *
from ._attention import *
from ._conv import *
from ._distance import *
from ._dropout import *
from ._embedding_bag import *
from ._fractional import *
from ._linear import *
from ._loss import *
from ._norm import *
from ._pool import *
from ._pool_index import *
from ._vision import *
