# SPDX-License-Identifier: Apache-2.0
"""The loop: Trainer.fit, .evaluate and .predict.

>>> trainer = tg.train.Trainer(model, loss_fn, optimizer, metrics={"accuracy": tg.metrics.Accuracy()}, checkpoints="run1")
>>> history = trainer.fit(train_loader, val_loader, epochs=10, resume=True)
"""
from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tengen as tg
from tengen.data.collate import map_structure
from tengen.optim.lr_scheduler import ReduceLROnPlateau

from . import checkpoint
from .callbacks import Callback, better
from .progress import choose


class Trainer:
    """Trains a model, one epoch after the other, and can be stopped at any step and go on bit for bit.

    Parameters
    ----------
    model : Module
    loss : callable
        loss(model(*inputs), target) of a batch (*inputs, target); override `training_step` for anything else.
    optimizer : Optimizer
    scheduler : scheduler, optional
        Stepped after every epoch; a ReduceLROnPlateau with `monitor`.
    schedule_every : 'epoch' or 'step'
    metrics : mapping of str to Metric, optional
        Of the validation data.
    train_metrics : mapping of str to Metric, optional
        Of the training data, while it trains.
    device : device, optional
        Where the model and the batches go; where the model is, by default.
    amp : None, True or dtype
        Autocast: True is bfloat16; float16 adds a GradScaler.
    accumulate : int
        Batches per update of the parameters.
    jit : bool
        The whole step – forward, backward, update – as a static graph (tg.jit), bit for bit the same; not with `accumulate` or float16.
    clip_norm, clip_value : float, optional
        Limits of the gradients' norm or elements.
    checkpoints : path, optional
        A folder for checkpoints: after every epoch, and every `save_every` steps.
    save_every : int, optional
    keep_last : int
        Older checkpoints are deleted (never best.safetensors).
    monitor, mode : str
        What best.safetensors is best in: a key of the results, 'min' or 'max'. Without validation data, 'loss'.
    callbacks : sequence of Callback
    progress : optional
        None: a bar on a terminal that has tqdm, else lines; 'bar', 'plain' or False.

    Attributes
    ----------
    epoch, step : int
        Epochs done, updates done.
    history : list of dict
        Per epoch: epoch, step, lr, loss, and val_loss and val_<metric> where there is validation data.
    interrupted : bool
        Whether the last fit() ended by Ctrl-C: the first one ends it after the step at hand, with a checkpoint; the second
        one raises KeyboardInterrupt.
    """

    def __init__(self, model: Any, loss: Callable[..., Any], optimizer: Any, *, scheduler: Any = None,
                 schedule_every: str = "epoch", metrics: Mapping[str, Any] | None = None,
                 train_metrics: Mapping[str, Any] | None = None, device: Any = None, amp: Any = None,
                 accumulate: int = 1, clip_norm: float | None = None, clip_value: float | None = None,
                 checkpoints: Any = None, save_every: int | None = None, keep_last: int = 3, monitor: str = "val_loss",
                 mode: str = "min", callbacks: Sequence[Callback] = (), progress: Any = None, jit: bool = False) -> None:
        if accumulate < 1 or keep_last < 1 or schedule_every not in ("epoch", "step") or mode not in ("min", "max"):
            raise ValueError(f"[Trainer] expected accumulate >= 1, keep_last >= 1, schedule_every 'epoch' or 'step' and mode "
                             f"'min' or 'max', got {accumulate}, {keep_last}, {schedule_every!r}, {mode!r}")
        if schedule_every == "step" and isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError("[Trainer] expected schedule_every='epoch' for a ReduceLROnPlateau: it looks at epochs' results")
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.schedule_every = schedule_every
        self.metrics = dict(metrics or {})
        self.train_metrics = dict(train_metrics or {})
        self.device = None if device is None else tg.device(device)
        self.amp = tg.bfloat16 if amp is True else amp or None
        self.scaler = tg.amp.GradScaler(enabled=self.amp == tg.float16)
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.checkpoints = None if checkpoints is None else os.fspath(checkpoints)
        self.save_every = save_every
        self.keep_last = keep_last
        self.monitor = monitor
        self.mode = mode
        self.callbacks = list(callbacks)
        self._progress = choose(progress)
        self.epoch = self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: float | None = None
        self.interrupted = False
        self.stop_reason: str | None = None
        self.last_loss: Any = None
        self._mean = tg.metrics.Mean()  # of the epoch's losses
        self._unread: list[tuple[Any, int]] = []  # losses not yet in it: to read one waits for the device
        self._loader: Any = None
        self._given = 0  # batches of the present epoch that were done before fit() went on
        if self.device is not None:
            model.to(self.device)
        if jit and (accumulate > 1 or self.scaler.is_enabled()):
            raise ValueError("[Trainer] expected accumulate=1 and no float16 with jit=True: a static graph is one whole step of full range")
        self._jitted = tg.jit(self._whole_step) if jit else None

    # ---- what may be overridden --------------------------------------------------------------------------------------

    def training_step(self, batch: Any) -> tuple[Any, Any, Any]:
        """(loss, output, target) of a batch that is on the device; the latter two are for the metrics."""
        *inputs, target = batch
        output = self.model(*inputs)
        return self.loss(output, target), output, target

    def validation_step(self, batch: Any) -> tuple[Any, Any, Any]:
        """The same for validation data."""
        return self.training_step(batch)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    def fit(self, train: Iterable[Any], val: Iterable[Any] | None = None, epochs: int = 1, *,
            resume: Any = None) -> list[dict[str, Any]]:
        """Trains until `epochs` epochs are done in all.

        Parameters
        ----------
        train, val : DataLoader or other iterable of batches
        epochs : int
        resume : True, path or None
            Go on from the newest checkpoint (True; from the beginning when there is none yet), or from a file or folder.

        Returns
        -------
        history : list of dict
        """
        if train is not self._loader:
            self._loader, self._given = train, 0
        self.interrupted, self.stop_reason = False, None
        if resume is not None and resume is not False:
            path = checkpoint.find(resume, self.checkpoints)
            if path is not None:
                self.load(path)
        self.model.train()
        with self._catching_interrupt():
            self._tell("on_fit_begin")
            try:
                while self.epoch < epochs and self.stop_reason is None:
                    self._run_epoch(train, val, epochs)
            finally:
                self._tell("on_fit_end")
        return self.history

    def stop(self, reason: str = "stopped") -> None:
        """Ends fit() after the step at hand."""
        self.stop_reason = reason

    def _tell(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    def _run_epoch(self, train: Iterable[Any], val: Iterable[Any] | None, epochs: int) -> None:
        done, self._given = self._given, 0
        if not done:
            self._unread.clear()
            for metric in (self._mean, *self.train_metrics.values()):
                metric.reset()
            self._tell("on_epoch_begin")
        try:
            total = len(train)
        except TypeError:
            total = None
        progress = self._progress(self.epoch + 1, epochs, total, done)
        pending = 0
        try:
            for batch in train:
                loss = self._forward_backward(batch) if self._jitted is None else self._jitted_step(batch)
                progress.advance(loss)
                pending += 1
                if pending == self.accumulate:
                    self._update(pending)
                    pending = 0
                    if self._after_step():
                        return
            if pending:
                self._update(pending)
                if self._after_step():
                    return
        finally:
            progress.close()
        self._read_losses()
        results = {"epoch": self.epoch + 1, "step": self.step, "lr": float(self.optimizer.param_groups[0]["lr"]),
                   "loss": self._mean.compute()}
        results.update({name: _number(m.compute()) for name, m in self.train_metrics.items()})
        if val is not None:
            results.update({f"val_{name}": value for name, value in self.evaluate(val).items()})
        if self.scheduler is not None and self.schedule_every == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(results[self._monitored(results)])
            else:
                self.scheduler.step()
        self.epoch += 1
        self.history.append(results)
        self._tell("on_epoch_end", results)
        progress.results(results)
        if self.checkpoints is not None:
            measure = results[self._monitored(results)]
            best = better(measure, self.best, self.mode)
            if best:
                self.best = measure
            self.save()
            if best:
                self.save(os.path.join(self.checkpoints, "best.safetensors"))

    def _monitored(self, results: dict[str, Any]) -> str:
        key = self.monitor if self.monitor in results or self.monitor != "val_loss" else "loss"
        if key not in results:
            raise KeyError(f"[Trainer] expected monitor {self.monitor!r} among the results {sorted(results)}")
        return key

    def _forward_backward(self, batch: Any) -> Any:
        with self._autocast():
            loss, output, target = self.training_step(self._moved(batch))
        self.scaler.scale(loss / self.accumulate if self.accumulate > 1 else loss).backward()
        return self._seen(loss.detach(), output, target)

    def _whole_step(self, batch: Any) -> tuple[Any, Any, Any]:
        """Forward, backward and update: what jit=True makes a graph of."""
        with self._autocast():
            loss, output, target = self.training_step(batch)
        loss.backward()
        self._step_optimizer()
        return loss.detach(), output.detach() if isinstance(output, tg.Tensor) else output, target

    def _jitted_step(self, batch: Any) -> Any:
        return self._seen(*self._jitted(self._moved(batch)))

    def _seen(self, loss: Any, output: Any, target: Any) -> Any:
        self.last_loss = loss
        self._unread.append((self.last_loss, _items(target)))
        if len(self._unread) == 64:
            self._read_losses()
        for metric in self.train_metrics.values():
            metric.update(output, target)
        return self.last_loss

    def _read_losses(self) -> None:
        for loss, items in self._unread:
            self._mean.update(loss, items)
        self._unread.clear()

    def _update(self, batches: int) -> None:
        if self._jitted is None:
            self._step_optimizer(batches)
        if self.scheduler is not None and self.schedule_every == "step":
            self.scheduler.step()
        self.step += 1

    def _step_optimizer(self, batches: int = 1) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.clip_norm is not None or self.clip_value is not None or batches != self.accumulate:
            self.scaler.unscale_(self.optimizer)
        if batches != self.accumulate:  # the last batches of an epoch: their mean as well
            with tg.no_grad():
                for p in parameters:
                    if p.grad is not None:
                        p.grad.mul_(self.accumulate / batches)
        if self.clip_norm is not None:
            tg.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        if self.clip_value is not None:
            tg.nn.utils.clip_grad_value_(parameters, self.clip_value)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def _after_step(self) -> bool:
        """Whether to end now, in the middle of an epoch."""
        self._tell("on_step_end")
        stop = self.stop_reason is not None
        if self.checkpoints is not None and (stop or (self.save_every and self.step % self.save_every == 0)):
            self.save()
        if stop and hasattr(self._loader, "load_state_dict"):  # another fit() goes on from here
            self._place(self._loader.state_dict())
        return stop

    def _place(self, position: dict[str, Any]) -> None:
        self._loader.load_state_dict(position)
        self._given = position.get("given") or 0

    def _moved(self, batch: Any) -> Any:
        if self.device is None:
            return batch
        return map_structure(batch, lambda v: v.to(self.device) if isinstance(v, tg.Tensor) else v)

    def _autocast(self) -> Any:
        return contextlib.nullcontext() if self.amp is None else tg.amp.autocast(dtype=self.amp)

    def evaluate(self, loader: Iterable[Any]) -> dict[str, float]:
        """{"loss": the mean over items, metric: value, ...} of the model in eval mode."""
        mean, was_training = tg.metrics.Mean(), self.model.training
        for metric in self.metrics.values():
            metric.reset()
        self.model.eval()
        try:
            with tg.no_grad(), self._autocast():
                for batch in loader:
                    loss, output, target = self.validation_step(self._moved(batch))
                    mean.update(loss, _items(target))
                    for metric in self.metrics.values():
                        metric.update(output, target)
        finally:
            self.model.train(was_training)
        return {"loss": mean.compute(), **{name: _number(m.compute()) for name, m in self.metrics.items()}}

    def predict(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The model's outputs, batch by batch, in eval mode. A batch that is a list or tuple gives its first item."""
        was_training = self.model.training
        self.model.eval()
        try:
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                with tg.no_grad(), self._autocast():
                    output = self.model(self._moved(x))
                yield output
        finally:
            self.model.train(was_training)

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on."""
        self._read_losses()
        state = {"format": 1, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "scaler": self.scaler.state_dict(), "epoch": self.epoch, "step": self.step, "history": self.history,
                 "best": self.best, "mean": self._mean.state_dict(), "random": checkpoint.random_state(),
                 "train_metrics": {name: m.state_dict() for name, m in self.train_metrics.items()},
                 "callbacks": [c.state_dict() for c in self.callbacks]}
        if self.scheduler is not None:
            state["scheduler"] = self.scheduler.state_dict()
        if hasattr(self._loader, "state_dict"):
            state["loader"] = self._loader.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a saved state. The loader's part needs fit()'s loader: resume there."""
        missing = {"model", "optimizer", "epoch", "step", "random"} - set(state)
        if missing:
            raise ValueError(f"[Trainer] expected a checkpoint of a Trainer, got one without {sorted(missing)}")
        if len(state["callbacks"]) != len(self.callbacks) or ("scheduler" in state) != (self.scheduler is not None):
            raise ValueError("[Trainer] expected a checkpoint of a Trainer with as many callbacks and a scheduler alike")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]
        self.history = list(state["history"])
        self._unread.clear()
        self._mean.load_state_dict(state["mean"])
        for name, metric in self.train_metrics.items():
            metric.load_state_dict(state["train_metrics"][name])
        for callback, saved in zip(self.callbacks, state["callbacks"]):
            callback.load_state_dict(saved)
        if "loader" in state and hasattr(self._loader, "load_state_dict"):
            self._place(state["loader"])
        checkpoint.set_random_state(state["random"])

    def save(self, path: Any = None) -> str:
        """Writes a checkpoint to a file, or to the folder of checkpoints; returns where."""
        if path is not None:
            tg.save(self.state_dict(), path)
            return os.fspath(path)
        if self.checkpoints is None:
            raise ValueError("[Trainer.save] expected a path, or Trainer(..., checkpoints=folder)")
        return checkpoint.write(self.checkpoints, self.step, self.state_dict(), self.keep_last)

    def load(self, path: Any) -> None:
        """Reads a checkpoint."""
        self.load_state_dict(tg.load(path, device="cpu"))

    @contextlib.contextmanager
    def _catching_interrupt(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
            self.stop("interrupted")

        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _items(target: Any) -> int:
    shape = getattr(target, "shape", ())
    return int(shape[0]) if len(shape) else 1


def _number(value: Any) -> Any:
    return float(value) if getattr(value, "ndim", 0) == 0 else value.tolist()
