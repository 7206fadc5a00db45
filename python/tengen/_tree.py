# SPDX-License-Identifier: Apache-2.0
"""Nested tuples, lists and dicts as flat lists and back: what func's functions take and give.

>>> from tengen._tree import flatten, unflatten
>>> leaves, spec = flatten({"a": 1, "b": (2, 3)})
>>> leaves, unflatten([10, 20, 30], spec)
([1, 2, 3], {'a': 10, 'b': (20, 30)})
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LEAF = None


def _children(tree: Any) -> tuple[list, Any] | None:
    """The parts of a container and how to make one of its kind; None for a leaf."""
    if isinstance(tree, dict):
        return list(tree.values()), (type(tree), tuple(tree))
    if isinstance(tree, (tuple, list)):
        return list(tree), (type(tree), None)
    return None


def _make(kind: Any, parts: list) -> Any:
    cls, keys = kind
    if keys is not None:
        return cls(zip(keys, parts))
    if hasattr(cls, "_fields"):
        return cls(*parts)
    try:
        return cls(parts)
    except TypeError:  # a struct sequence of several results that refuses: a plain tuple does
        return tuple(parts)


def flatten(tree: Any) -> tuple[list, Any]:
    """The leaves in order, and the structure without them."""
    node = _children(tree)
    if node is None:
        return [tree], LEAF
    leaves: list = []
    specs = []
    for part in node[0]:
        inner, spec = flatten(part)
        leaves += inner
        specs.append((spec, len(inner)))
    return leaves, (node[1], specs)


def unflatten(leaves: Sequence, spec: Any) -> Any:
    """The structure with new leaves."""
    if spec is LEAF:
        return leaves[0]
    kind, specs = spec
    parts, at = [], 0
    for inner, n in specs:
        parts.append(unflatten(leaves[at : at + n], inner))
        at += n
    return _make(kind, parts)


def map_tree(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """f of every leaf (and those of other trees of one structure)."""
    leaves, spec = flatten(tree)
    rows = [flatten(o)[0] for o in others]
    return unflatten([f(*each) for each in zip(leaves, *rows)], spec)


def spread(prefix: Any, tree: Any, what: str) -> list:
    """One entry of `prefix` for every leaf of `tree`: a leaf of the prefix stands for all below it."""
    if prefix is None or not isinstance(prefix, (tuple, list, dict)):
        return [prefix] * len(flatten(tree)[0])
    node = _children(tree)
    if node is None or len(prefix) != len(node[0]) or isinstance(prefix, dict) != isinstance(tree, dict):
        raise ValueError(f"[vmap] expected {what} to have the structure of what it describes, or to be one number; "
                         f"got {prefix!r}")
    parts = [prefix[k] for k in tree] if isinstance(prefix, dict) else prefix
    return [x for p, part in zip(parts, node[0]) for x in spread(p, part, what)]
