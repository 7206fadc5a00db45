# SPDX-License-Identifier: Apache-2.0
"""Text by character, for language models.

>>> text = CharText("input.txt", block=64)
>>> train, held = text.split(0.9)
>>> x, y = train[0]                       # i64 [64] each; y is x one character on
>>> text.vocabulary.decode(x[:5])
'First'
"""
from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import tengen as tg

from .dataset import Dataset


class Vocabulary:
    """The characters of a text, sorted, numbered from 0."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = sorted(set(characters))
        self._codes = np.array([ord(c) for c in self.characters], np.uint32)

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters, i64 [len(text)]. ValueError for one that is not in the vocabulary."""
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        at = np.searchsorted(self._codes, codes)
        there = self._codes[np.minimum(at, len(self) - 1)] == codes if len(self) else np.zeros(len(codes), bool)
        if not there.all():
            raise ValueError(f"[encode] expected characters of the vocabulary, got {chr(codes[np.argmin(there)])!r}")
        return at.astype(np.int64)

    def decode(self, numbers: Any) -> str:
        """The text of numbers (a tensor, an array, a list). IndexError for one outside the vocabulary."""
        numbers = np.asarray(numbers.numpy() if isinstance(numbers, tg.Tensor) else numbers, np.int64).ravel()
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"[decode] expected numbers from 0 to {len(self) - 1}, got {numbers.min()} to {numbers.max()}")
        return self._codes[numbers].tobytes().decode("utf-32-le")


class CharText(Dataset):
    """All windows of `block` characters of a text, each with the same window one character on.

    Parameters
    ----------
    path : path
        A text file in UTF-8.
    block : int
        Characters per window.
    vocabulary : Vocabulary, optional
        That of another part of the text; by default the text's own.
    """

    def __init__(self, path: str | os.PathLike, block: int, vocabulary: Vocabulary | None = None) -> None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"[CharText] {os.fspath(path)}: expected UTF-8 text: {error}") from error
        vocabulary = vocabulary or Vocabulary(text)
        self._set(vocabulary.encode(text), block, vocabulary)

    def _set(self, codes: np.ndarray, block: int, vocabulary: Vocabulary) -> None:
        if block < 1 or len(codes) <= block:
            raise ValueError(f"[CharText] expected a text longer than the block of {block} characters, got {len(codes)}")
        self.codes, self.block, self.vocabulary = codes, block, vocabulary

    def split(self, fraction: float) -> tuple[CharText, CharText]:
        """The first `fraction` of the text, and the rest, with one vocabulary."""
        cut = int(len(self.codes) * fraction)
        parts = []
        for codes in (self.codes[:cut], self.codes[cut:]):
            part = CharText.__new__(CharText)
            part._set(codes, self.block, self.vocabulary)
            parts.append(part)
        return parts[0], parts[1]

    def get_batch(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.asarray(at)[:, None] + np.arange(self.block + 1)
        windows = self.codes[rows]
        return windows[:, :-1], windows[:, 1:]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} windows")
        return self.codes[index:index + self.block], self.codes[index + 1:index + self.block + 1]

    def __len__(self) -> int:
        return len(self.codes) - self.block
