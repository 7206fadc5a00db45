# SPDX-License-Identifier: Apache-2.0
"""Tools around training: tg.utils.checkpoint."""
from . import checkpoint

__all__ = ["checkpoint"]
