# SPDX-License-Identifier: Apache-2.0
"""`python -m tengen ...` is the command `tengen ...`."""
import sys

from tengen._cli import main

sys.exit(main())
