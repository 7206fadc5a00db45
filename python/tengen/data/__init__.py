# SPDX-License-Identifier: Apache-2.0
"""Datasets, samplers, loaders, and what is done to images on the way."""
from . import transforms
from .classic import CIFAR10, MNIST, FashionMNIST
from .collate import default_collate
from .dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split, stratified_split
from .digits import load_digits
from .download import download
from .folder import DatasetFolder, ImageFolder
from .idx import ImageSet, load_idx_directory, read_idx, write_idx
from .image import read_image, write_image
from .loader import DataLoader
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler
from .sampler_groups import BucketBatchSampler, DistributedSampler, InfiniteSampler, lengths_of
from .text import CharText, Vocabulary
from .worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler", "BucketBatchSampler", "CIFAR10", "CharText", "ConcatDataset", "DataLoader", "Dataset", "DatasetFolder",
    "DistributedSampler", "FashionMNIST", "ImageFolder", "ImageSet", "InfiniteSampler", "IterableDataset", "MNIST",
    "RandomSampler", "Sampler", "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "Vocabulary",
    "WeightedRandomSampler", "WorkerInfo", "default_collate", "download", "get_worker_info", "lengths_of", "load_digits",
    "load_idx_directory", "random_split", "read_idx", "read_image", "stratified_split", "transforms", "write_idx",
    "write_image",
]
