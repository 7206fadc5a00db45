# SPDX-License-Identifier: Apache-2.0
"""A training loop for those who do not want to write one: Trainer(model, loss, optimizer).fit(train, val, epochs)."""
from .callbacks import Callback, EarlyStopping, TensorBoard
from .trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "TensorBoard", "Trainer"]
