# SPDX-License-Identifier: Apache-2.0
"""inspect.signature of op functions, from their schema. Imported when somebody asks."""
from __future__ import annotations

import inspect
from typing import Any


def signature_of(op: Any) -> inspect.Signature:
    """The signature that op.__text_signature__ spells."""
    text = op.__text_signature__
    parameters = []
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for part in _split(text[1:-1]):
        if part == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        name, _, default = part.partition("=")
        value = eval(default, {"__builtins__": {}, "float": float}) if default else inspect.Parameter.empty  # noqa: S307 (our own text)
        parameters.append(inspect.Parameter(name, kind, default=value))
    return inspect.Signature(parameters)


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, c in enumerate(text):
        if c == "'":
            quoted = not quoted
        elif not quoted and c in "([":
            depth += 1
        elif not quoted and c in ")]":
            depth -= 1
        elif c == "," and depth == 0 and not quoted:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts
