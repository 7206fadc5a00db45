# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures in one folder per class."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import Dataset
from .image import read_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class DatasetFolder(Dataset):
    """Files in one folder per class: item i is (what `loader` makes of the file, its class).

    Attributes
    ----------
    classes : list of str
        The names of the folders, sorted; a class is its place here.
    class_to_idx : dict
    samples : list of (path, class)
        Sorted by class, then path.
    targets : i64 array
        The class of every sample.
    """

    def __init__(self, root: str | os.PathLike, loader: Callable[[str], Any], suffixes: Iterable[str],
                 transform: Callable[[Any], Any] | None = None, target_transform: Callable[[int], Any] | None = None) -> None:
        self.root = Path(root)
        self.loader, self.transform, self.target_transform = loader, transform, target_transform
        if not self.root.is_dir():
            raise FileNotFoundError(f"[{type(self).__name__}] {self.root} is no directory")
        self.classes = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"[{type(self).__name__}] {self.root} holds no folder per class")
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        ends = tuple(s.lower() for s in suffixes)
        self.samples: list[tuple[str, int]] = []
        for number, name in enumerate(self.classes):
            found = sorted(os.path.join(folder, file) for folder, _, files in os.walk(self.root / name, followlinks=True)
                           for file in files if file.lower().endswith(ends))
            if not found:
                raise FileNotFoundError(f"[{type(self).__name__}] {self.root / name} holds no file that ends in one of {', '.join(ends)}")
            self.samples += [(path, number) for path in found]
        self.targets = np.array([number for _, number in self.samples], np.int64)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        item = self.loader(path)
        if self.transform is not None:
            item = self.transform(item)
        return item, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.root)!r}: {len(self)} files in {len(self.classes)} classes, transform={self.transform!r})"


class ImageFolder(DatasetFolder):
    """Pictures in one folder per class, as u8 [3, height, width] and class.

    >>> data = ImageFolder("flowers", transform=transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)]))
    >>> image, label = data[0]
    """

    def __init__(self, root: str | os.PathLike, transform: Callable[[Any], Any] | None = None,
                 target_transform: Callable[[int], Any] | None = None, loader: Callable[[str], Any] = read_image) -> None:
        super().__init__(root, loader, IMAGE_SUFFIXES, transform, target_transform)
