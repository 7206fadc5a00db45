# SPDX-License-Identifier: Apache-2.0
"""What a Trainer calls on the way, and two that many want."""
from __future__ import annotations

import math
from typing import Any


class Callback:
    """Base: every method may be left out. `trainer.stop()` inside one ends the training after this step."""

    def on_fit_begin(self, trainer: Any) -> None: ...

    def on_epoch_begin(self, trainer: Any) -> None: ...

    def on_step_end(self, trainer: Any) -> None:
        """After every update of the parameters: trainer.step, trainer.last_loss (a tensor)."""

    def on_epoch_end(self, trainer: Any, results: dict[str, float]) -> None:
        """After validation; `results` is the epoch's entry of trainer.history."""

    def on_fit_end(self, trainer: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What goes into checkpoints."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def better(value: float, best: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Whether a measure improves on the best so far; NaN never does."""
    if value is None or math.isnan(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if mode == "min" else value > best + min_delta


class EarlyStopping(Callback):
    """Ends the training when a measure has not improved for `patience` epochs in a row.

    Parameters
    ----------
    monitor : str
        A key of the epoch's results.
    patience : int
    mode : 'min' or 'max'
        Which way is better.
    min_delta : float
        Smaller changes are none.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, mode: str = "min", min_delta: float = 0.0) -> None:
        if mode not in ("min", "max") or patience < 0:
            raise ValueError(f"[EarlyStopping] expected mode 'min' or 'max' and patience >= 0, got {mode!r}, {patience}")
        self.monitor = monitor
        self.patience = patience
        self.mode = mode
        self.min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    def on_fit_begin(self, trainer: Any) -> None:
        self._decide(trainer)  # a run that it has ended is not taken up again

    def _decide(self, trainer: Any) -> None:
        if self.waited > self.patience:
            trainer.stop(f"{self.monitor} has not improved for {self.waited} epochs")

    def on_epoch_end(self, trainer: Any, results: dict[str, float]) -> None:
        if self.monitor not in results:
            raise KeyError(f"[EarlyStopping] expected {self.monitor!r} among the results {sorted(results)}")
        if better(results[self.monitor], self.best, self.mode, self.min_delta):
            self.best, self.waited = results[self.monitor], 0
            return
        self.waited += 1
        self._decide(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]


class TensorBoard(Callback):
    """Writes TensorBoard event files, with the package tensorboardX.

    Parameters
    ----------
    folder : str or path
    every : int
        Steps between values of the loss and the learning rate; epochs' results are always written.
    """

    def __init__(self, folder: Any, every: int = 10) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("[TensorBoard] needs the package tensorboardX: pip install tensorboardX") from error
        self._make = lambda step: SummaryWriter(str(folder), purge_step=step or None)
        self._writer: Any = None
        self.every = every

    def on_fit_begin(self, trainer: Any) -> None:
        self._writer = self._make(trainer.step)

    def on_step_end(self, trainer: Any) -> None:
        if trainer.step % self.every == 0:
            self._writer.add_scalar("train/loss", trainer.last_loss.item(), trainer.step)
            self._writer.add_scalar("train/lr", trainer.optimizer.param_groups[0]["lr"], trainer.step)

    def on_epoch_end(self, trainer: Any, results: dict[str, float]) -> None:
        for name, value in results.items():
            if isinstance(value, float):
                self._writer.add_scalar(f"epoch/{name}", value, trainer.step)
        self._writer.flush()

    def on_fit_end(self, trainer: Any) -> None:
        self._writer.close()
