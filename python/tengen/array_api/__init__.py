# SPDX-License-Identifier: Apache-2.0
"""The Python array API standard (2024.12) over Tengen's tensors: exactly its names, signatures and meanings.

>>> import tengen.array_api as xp
>>> x = xp.asarray([3.0, 1.0])
>>> x.__array_namespace__() is xp
True
>>> xp.sort(x)
tensor([1., 3.])

Functions that Tengen lacks are absent. The extensions `linalg` and `fft` are there when Tengen has those modules.
"""
from __future__ import annotations

import tengen as tg

from . import _creation, _data_types, _elementwise, _manipulation, _searching, _statistical
from ._creation import *  # noqa: F403
from ._data_types import *  # noqa: F403
from ._elementwise import *  # noqa: F403
from ._info import __array_namespace_info__
from ._manipulation import *  # noqa: F403
from ._searching import *  # noqa: F403
from ._statistical import *  # noqa: F403

__array_api_version__ = "2024.12"
__version__ = tg.__version__
e, inf, nan, pi, newaxis = 2.718281828459045, float("inf"), float("nan"), 3.141592653589793, None

__all__ = [
    "__array_api_version__", "__array_namespace_info__", "__version__", "e", "inf", "nan", "newaxis", "pi",
    *_creation.__all__, *_data_types.__all__, *_elementwise.__all__, *_manipulation.__all__, *_searching.__all__,
    *_statistical.__all__,
]

try:
    from . import linalg  # noqa: F401

    __all__.append("linalg")
except ImportError:
    pass
try:
    from . import fft  # noqa: F401

    __all__.append("fft")
except ImportError:
    pass
