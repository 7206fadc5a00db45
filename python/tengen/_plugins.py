# SPDX-License-Identifier: Apache-2.0
"""Plugins that other installed packages bring: entry points of the group `tengen.plugins`.

An entry point names a function (or a string) that gives a directory, or several. They are looked for once, at the first
use of a device, so that importing tengen stays fast.
"""
from __future__ import annotations

import os
import warnings
from importlib.metadata import entry_points

from . import _core

GROUP = "tengen.plugins"


def installed_directories() -> list[str]:
    """The plugin directories of all installed packages. A package that fails is named in a warning and left out."""
    found: list[str] = []
    for point in entry_points(group=GROUP):
        try:
            value = point.load()
            value = value() if callable(value) else value
            found += [os.fspath(path) for path in ([value] if isinstance(value, (str, os.PathLike)) else value)]
        except Exception as error:  # a broken third-party package must not break the rest
            warnings.warn(f"the plugin package {point.value!r} was left out: {type(error).__name__}: {error}", stacklevel=3)
    return found


def add_installed() -> None:
    """Adds the plugin directories of all installed packages to the search."""
    for path in installed_directories():
        _core._add_plugin_directory(path)
