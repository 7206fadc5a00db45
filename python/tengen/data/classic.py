# SPDX-License-Identifier: Apache-2.0
"""MNIST, Fashion-MNIST and CIFAR-10: from the user's own copy, or fetched when asked.

>>> train = MNIST("data", train=True, download=True)     # or the directory that holds the files already
>>> image, label = train[0]                              # u8 [1, 28, 28], int
"""
from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import Dataset
from .download import checksum, download
from .idx import read_idx


class ImageClasses(Dataset):
    """Labelled pictures in memory: `data` u8 [n, channels, height, width], `targets` i64 [n], `classes` names."""

    classes: tuple[str, ...] = ()

    def __init__(self, data: np.ndarray, targets: np.ndarray, transform: Callable[[Any], Any] | None = None,
                 target_transform: Callable[[int], Any] | None = None) -> None:
        self.data, self.targets = data, targets.astype(np.int64)
        self.transform, self.target_transform = transform, target_transform
        if transform is None and target_transform is None:
            self.get_batch = self._rows

    def _rows(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.data[at], self.targets[at]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, target = self.data[index], int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.targets)


class MNIST(ImageClasses):
    """Handwritten digits, 60,000 and 10,000 of 28 x 28 (LeCun, Cortes and Burges 1998).

    Parameters
    ----------
    root : path
        The directory with the IDX files, plain or .gz, or one that has them in a folder of the set's name (`MNIST`,
        with or without `raw` in it).
    train : bool
        The training part, or the test part.
    transform, target_transform : callable, optional
        Of an image u8 [1, 28, 28] and of a label.
    download : bool
        Fetch the files into root/<name> where they are missing.

    Raises
    ------
    FileNotFoundError
        The files are not there; the message says where they were looked for.
    ValueError
        A file is damaged.
    """

    mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    files = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes = tuple("0123456789")

    def __init__(self, root: str | os.PathLike, train: bool = True, transform: Callable[[Any], Any] | None = None,
                 target_transform: Callable[[int], Any] | None = None, download: bool = False) -> None:
        name = type(self).__name__
        folders = [Path(root), Path(root) / name, Path(root) / name / "raw"]
        part = "train" if train else "t10k"
        images, labels = (self._find(folders, f"{part}-{what}-ubyte", download) for what in ("images-idx3", "labels-idx1"))
        data, targets = read_idx(images), read_idx(labels)
        if data.dtype != np.uint8 or data.ndim != 3 or targets.shape != data.shape[:1]:
            raise ValueError(f"[{name}] {images}, {labels}: expected u8 images [n, h, w] and labels [n], got "
                             f"{data.dtype} {data.shape} and {targets.shape}")
        super().__init__(data[:, None], targets, transform, target_transform)

    def _find(self, folders: list[Path], stem: str, fetch: bool) -> Path:
        for folder in folders:
            for file in (folder / stem, folder / f"{stem}.gz"):
                if file.is_file():
                    return file
        if not fetch:
            raise FileNotFoundError(f"[{type(self).__name__}] {stem}[.gz] is in none of {', '.join(map(str, folders))}; "
                                    f"pass download=True to fetch it")
        return download(self.mirror + f"{stem}.gz", folders[1] / f"{stem}.gz", md5=self.files[f"{stem}.gz"])


class FashionMNIST(MNIST):
    """Ten sorts of clothing in MNIST's format (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747)."""

    mirror = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    files = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class CIFAR10(ImageClasses):
    """Small colour pictures of ten classes, 50,000 and 10,000 of 3 x 32 x 32 (Krizhevsky 2009), from the binary version.

    Parameters are MNIST's; `root` holds `cifar-10-batches-bin` or `cifar-10-binary.tar.gz` (which is read as it is).
    """

    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    _RECORD = 1 + 3 * 32 * 32  # a label, then the planes

    def __init__(self, root: str | os.PathLike, train: bool = True, transform: Callable[[Any], Any] | None = None,
                 target_transform: Callable[[int], Any] | None = None, download: bool = False) -> None:
        names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
        parts = self._parts(Path(root), names, download)
        for name, part in zip(names, parts):
            if not len(part) or len(part) % self._RECORD:
                raise ValueError(f"[CIFAR10] {name}: expected a multiple of {self._RECORD} bytes, got {len(part)}")
        rows = np.concatenate([np.frombuffer(part, np.uint8).reshape(-1, self._RECORD) for part in parts])
        if rows[:, 0].max() > 9:
            raise ValueError(f"[CIFAR10] expected labels from 0 to 9, got {rows[:, 0].max()}")
        super().__init__(rows[:, 1:].reshape(-1, 3, 32, 32).copy(), rows[:, 0], transform, target_transform)

    def _parts(self, root: Path, names: list[str], fetch: bool) -> list[bytes]:
        for folder in (root / "cifar-10-batches-bin", root):
            if all((folder / name).is_file() for name in names):
                return [(folder / name).read_bytes() for name in names]
        archive = root / "cifar-10-binary.tar.gz"
        if not archive.is_file() and not fetch:
            raise FileNotFoundError(f"[CIFAR10] neither {root / 'cifar-10-batches-bin'} nor {archive} is there; pass download=True "
                                    f"to fetch it")
        if fetch:
            download(self.url, archive, md5=self.md5)
        elif checksum(archive) != self.md5:
            raise ValueError(f"[CIFAR10] {archive}: expected md5 {self.md5}, got {checksum(archive)}")
        limit = 10000 * self._RECORD
        with tarfile.open(archive) as tar:
            parts = []
            for name in names:
                try:
                    file = tar.extractfile(f"cifar-10-batches-bin/{name}")
                except KeyError:
                    raise ValueError(f"[CIFAR10] {archive} has no {name}") from None
                parts.append(file.read(limit))
        return parts
