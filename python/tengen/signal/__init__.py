# SPDX-License-Identifier: Apache-2.0
"""Signals: windows."""

from . import windows

__all__ = ["windows"]
