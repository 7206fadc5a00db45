# SPDX-License-Identifier: Apache-2.0
# The extension module. Its public names are stated in __init__.pyi; those with an underscore are the package's own.
from typing import Any

from . import DeviceLostError as DeviceLostError
from . import Event as Event
from . import Stream as Stream
from . import Tensor as Tensor
from . import device as device
from . import dtype as dtype

def __getattr__(name: str) -> Any: ...
