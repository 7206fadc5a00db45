# SPDX-License-Identifier: Apache-2.0
"""Datasets, samplers and loaders."""
from .collate import default_collate
from .dataset import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split, stratified_split
from .digits import load_digits
from .idx import ImageSet, load_idx_directory, read_idx, write_idx
from .loader import DataLoader
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler
from .worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler", "ConcatDataset", "DataLoader", "Dataset", "ImageSet", "IterableDataset", "RandomSampler", "Sampler",
    "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "WorkerInfo",
    "default_collate", "get_worker_info", "load_digits", "load_idx_directory", "random_split", "read_idx",
    "stratified_split", "write_idx",
]
