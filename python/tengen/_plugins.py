# SPDX-License-Identifier: Apache-2.0
"""Plugins that other installed packages bring: entry points of the group `tengen.plugins`.

An entry point names a function (or a string) that gives a directory, or several. They are looked for once, at the first
use of a device, so that importing tengen stays fast.
"""
from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import entry_points

from . import _core

GROUP = "tengen.plugins"


def add_installed() -> None:
    """Adds the plugin directories of all installed packages. A package that fails is named in a warning and left out."""
    for point in entry_points(group=GROUP):
        try:
            value = point.load()
            value = value() if callable(value) else value
            for path in [value] if isinstance(value, (str, os.PathLike)) else value:
                _core._add_plugin_directory(os.fspath(path))
        except Exception as error:  # a broken third-party package must not break the rest
            warnings.warn(f"the plugin package {point.value!r} was left out: {type(error).__name__}: {error}", stacklevel=2)


def print_fallbacks() -> None:
    """At exit: which primitives ran on the CPU because their device has no kernel for them."""
    rows = _core.fallback_table() if _core.get_fallback_policy() == "warn" else []
    if not rows:
        return
    print("tengen: these ran on the CPU because their device has no kernel for them:", file=sys.stderr)
    print(f"  {'op':<24} {'device':<16} {'calls':>8} {'MB copied':>10} {'ms':>10}", file=sys.stderr)
    for row in sorted(rows, key=lambda r: -r["ms"]):
        print(f"  {row['op']:<24} {row['device']:<16} {row['count']:>8} {row['bytes'] / 1e6:>10.2f} {row['ms']:>10.2f}",
              file=sys.stderr)
