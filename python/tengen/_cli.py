# SPDX-License-Identifier: Apache-2.0
"""The command `tengen` of an installed wheel: hands over to the program inside the package."""
from __future__ import annotations

import os
import sys


def main() -> int:
    """Replaces this process by the program; returns only when it is missing."""
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(here, "bin", "tengen")
    if not os.access(program, os.X_OK):
        print(f"tengen: expected the program {program}, which this installation lacks", file=sys.stderr)
        return 127
    os.execv(program, ["tengen", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
