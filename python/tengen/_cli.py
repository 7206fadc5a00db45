# SPDX-License-Identifier: Apache-2.0
"""The command `tengen` of an installed wheel."""
from __future__ import annotations

import os
import signal
import sys
import warnings

from . import _core, _plugins


def _say(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def main() -> int:
    """Runs the command that the extension holds (tools/tengen) on the arguments of this process; its exit code."""
    if not hasattr(_core, "_command"):
        print("tengen: expected an extension with the command in it, got one that was built with TENGEN_TOOLS=OFF", file=sys.stderr)
        return 127
    for name in ("SIGINT", "SIGPIPE"):  # a command ends like one; Python would keep them for itself
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    here = os.path.dirname(os.path.abspath(__file__))
    with warnings.catch_warnings():
        warnings.showwarning = _say
        warnings.simplefilter("always")
        # In the order in which the package itself searches (tengen/__init__.py, _plugins.py).
        places = [os.path.join(here, "plugins"), *_plugins.installed_directories()]
    return _core._command(["tengen", *sys.argv[1:]], places, os.path.join(here, "bin", "tengen-probe"))


if __name__ == "__main__":
    sys.exit(main())
