# SPDX-License-Identifier: Apache-2.0
"""The handwritten digits that come with the package: 1,797 real 8x8 images, values 0 to 16, in 45 KB.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licence CC BY 4.0. It is that set's test part, in the order in which scikit-learn's
`load_digits` gives it; the files hold the same numbers as IDX.

>>> digits = load_digits()
>>> digits.train_images.shape, digits.test_images.shape
((1297, 8, 8), (500, 8, 8))
"""
from __future__ import annotations

from pathlib import Path

from .dataset import stratified_split
from .idx import ImageSet, read_idx

HELD_OUT = 500
_SOURCE = 'UCI ML "Optical Recognition of Handwritten Digits" (doi 10.24432/C50P49), CC BY 4.0'


def load_digits(held_out: int = HELD_OUT, seed: int = 0) -> ImageSet:
    """The embedded digits, `held_out` of them set apart for testing with every class in its proportion.

    Parameters
    ----------
    held_out : int
        How many images go to the test part.
    seed : int
        Of the split.

    Returns
    -------
    ImageSet
        u8 images [n, 8, 8] with values 0 to 16 (`scale`), u8 labels [n].
    """
    folder = Path(__file__).with_name("digits")
    images = read_idx(folder / "digits-images-idx3-ubyte.gz")
    labels = read_idx(folder / "digits-labels-idx1-ubyte.gz")
    rest, held = stratified_split(labels, held_out, seed)
    return ImageSet(images[rest], labels[rest], images[held], labels[held], scale=16, name="digits", source=_SOURCE)
