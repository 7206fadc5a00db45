# SPDX-License-Identifier: Apache-2.0
"""What is done to images before a network sees them: objects to be called, put together by Compose.

Images are u8 or floating NumPy arrays or host tensors [..., channels, height, width] and come back as what they were.
Random transforms draw from tengen's global random state (tg.manual_seed), in loader workers from the worker's. Functions
without chance are in `functional`.

Boxes, masks, keypoints and polygons go with the image where Compose knows the order of a sample's parts.

>>> train = Compose([RandomResizedCrop(224), RandomHorizontalFlip(), RandAugment(), ToFloat(),
...                  Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
"""
from . import functional
from .augment import RandAugment
from .basic import (
    Compose,
    Geometric,
    Lambda,
    Normalize,
    RandomApply,
    RandomChoice,
    RandomOrder,
    ToFloat,
    ToPILImage,
    ToTensor,
    Transform,
)
from .color import ColorJitter, Grayscale, RandomGrayscale
from .geometry import (
    CenterCrop,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResize,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ShortestEdgeResize,
)
from .mix import CutMix, MixUp
from .moves import Move
from .noise import GaussianNoise, Lighting
from .tones import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .warp import FiveCrop, GaussianBlur, RandomPerspective, TenCrop

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "CutMix", "FiveCrop", "GaussianBlur", "GaussianNoise", "Geometric", "Grayscale", "Lambda",
    "Lighting", "MixUp", "Move", "Normalize", "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine", "RandomApply",
    "RandomAutocontrast", "RandomChoice", "RandomCrop", "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomInvert", "RandomOrder", "RandomPerspective", "RandomPosterize", "RandomResize", "RandomResizedCrop", "RandomRotation",
    "RandomSolarize", "RandomVerticalFlip", "Resize", "ShortestEdgeResize", "TenCrop", "ToFloat", "ToPILImage", "ToTensor", "Transform",
    "functional",
]
