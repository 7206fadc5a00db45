# SPDX-License-Identifier: Apache-2.0
"""Linear algebra: matrices are the last two axes, all others are batches."""

from ._contract import multi_dot  # noqa: F401
