# SPDX-License-Identifier: Apache-2.0
"""Trains a small convolutional net to read digits: `python -m tengen._quickstart`.

Without --data it takes the 1,797 digits that come with the package and holds 500 out for testing; with --data a
directory with MNIST's four files (MNIST, Fashion-MNIST, ...). It says which device does the work and why, and leaves a
checkpoint and a learning curve in --out.
"""
from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tengen as tg
from tengen import nn
from tengen.data import DataLoader, Dataset, ImageSet, get_worker_info, load_digits, load_idx_directory

# Per size of image: epochs, batch size, peak learning rate, largest shift in pixels.
SMALL = {"epochs": 16, "batch": 32, "lr": 4e-3, "shift": 1}
LARGE = {"epochs": 5, "batch": 64, "lr": 4e-3, "shift": 2}


class ShiftedImages(Dataset):
    """Images scaled to [0, 1] and normalised, each shifted at random by up to `shift` pixels, by whole batches."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, scale: float, mean: float, std: float, shift: int,
                 seed: int) -> None:
        pad = [(0, 0), (shift, shift), (shift, shift)]
        self.padded = np.pad((images.astype(np.float32) / scale - mean) / std, pad, constant_values=-mean / std)
        self.labels = labels.astype(np.int64)
        self.shift = shift
        self.size = images.shape[1:]
        self.seed = seed
        self.draws: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def get_batch(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, w = self.size
        if self.shift:
            if self.draws is None:  # workers draw different numbers
                worker = get_worker_info()
                self.draws = np.random.default_rng([self.seed, 0 if worker is None else worker.id + 1])
            dy, dx = self.draws.integers(0, 2 * self.shift + 1, (2, len(at), 1))
        else:
            dy = dx = np.zeros((len(at), 1), int)
        rows, columns = dy + np.arange(h), dx + np.arange(w)
        return self.padded[at[:, None, None], rows[:, :, None], columns[:, None, :]][:, None], self.labels[at]

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.get_batch(np.array([i]))
        return x[0], y[0]


def build_net(size: tuple[int, int], classes: int) -> nn.Module:
    """Two blocks of two convolutions with batch normalisation; one for images under 16 pixels is enough to halve."""
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    small = min(size) < 16
    a, b = (32, 64) if small else (16, 32)
    after = (size[0] // 4) * (size[1] // 4) * b
    return nn.Sequential(
        *block(1, a), *block(a, a), nn.MaxPool2d(2),
        *block(a, b), *block(b, b), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(after, 64 if small else 128), nn.ReLU(), nn.Dropout(0.25),
        nn.Linear(64 if small else 128, classes))


# ---- what it says ----------------------------------------------------------------------------------------------------


class Progress:
    """One line per epoch: drawn again and again on a terminal, once when it is piped."""

    def __init__(self, epochs: int, batches: int) -> None:
        self.epochs, self.batches = epochs, batches
        self.live = sys.stdout.isatty()
        self.drawn = 0.0

    def show(self, epoch: int, batch: int, text: str, end: bool = False) -> None:
        now = time.monotonic()
        if not end and (not self.live or now - self.drawn < 0.1):
            return
        self.drawn = now
        head = f"epoch {epoch:{len(str(self.epochs))}}/{self.epochs} "
        if not self.live:
            print(head + text, flush=True)
            return
        done = round(20 * batch / self.batches)
        print(f"\r\x1b[2K{head}[{'#' * done}{'.' * (20 - done)}] {text}", end="\n" if end else "", flush=True)


def say_devices(device: Any, pinned: bool) -> None:
    """Which devices there are, which one was chosen and why."""
    print("devices")
    for d in tg.devices():
        mark = "*" if d.name == device.name else " "
        print(f"  {mark} {d.name:10} {d.product} - plugin {d.provider}: {d.reason}")
    print(f"using {device.name}, asked for with --device" if pinned else f"using {tg.default_device_reason()}")


# ---- the learning curve ----------------------------------------------------------------------------------------------


def draw_svg(path: Path, title: str, history: list[dict[str, float]]) -> None:
    """Loss (left axis) and test accuracy (right axis) by epoch."""
    w, h, m = 640, 360, 50
    n, top = len(history), max(max(e["loss"] for e in history), 1e-9)
    low = min(e["accuracy"] for e in history)
    low = math.floor(low / 10) * 10 if low < 100 else 90

    def x(i: int) -> float:
        return m + (w - 2 * m) * (i / max(n - 1, 1))

    def line(values: list[float], colour: str) -> str:
        points = " ".join(f"{x(i):.1f},{h - m - (h - 2 * m) * v:.1f}" for i, v in enumerate(values))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" font-family="sans-serif" font-size="12">',
           f'<rect width="{w}" height="{h}" fill="white"/>',
           f'<text x="{w / 2}" y="24" text-anchor="middle" font-size="15">{title}</text>',
           f'<rect x="{m}" y="{m}" width="{w - 2 * m}" height="{h - 2 * m}" fill="none" stroke="#999"/>']
    for k in range(5):
        y = h - m - (h - 2 * m) * k / 4
        out.append(f'<line x1="{m}" x2="{w - m}" y1="{y}" y2="{y}" stroke="#eee"/>')
        out.append(f'<text x="{m - 6}" y="{y + 4}" text-anchor="end" fill="#c33">{top * k / 4:.2f}</text>')
        out.append(f'<text x="{w - m + 6}" y="{y + 4}" fill="#36c">{low + (100 - low) * k / 4:.1f} %</text>')
    for i in range(0, n, max(1, math.ceil(n / 12))):
        out.append(f'<text x="{x(i):.1f}" y="{h - m + 18}" text-anchor="middle">{i + 1}</text>')
    out.append(f'<text x="{w / 2}" y="{h - 10}" text-anchor="middle">epoch</text>')
    out.append(line([e["loss"] / top for e in history], "#c33"))
    out.append(line([(e["accuracy"] - low) / (100 - low) for e in history], "#36c"))
    out.append(f'<text x="{m + 8}" y="{m + 18}" fill="#c33">training loss</text>')
    out.append(f'<text x="{w - m - 8}" y="{h - m - 10}" text-anchor="end" fill="#36c">test accuracy</text></svg>')
    path.write_text("\n".join(out) + "\n")


def draw_png(path: Path, title: str, history: list[dict[str, float]]) -> bool:
    """The same with matplotlib; False where that is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    epochs = range(1, len(history) + 1)
    figure, left = pyplot.subplots(figsize=(6.4, 3.6))
    left.plot(epochs, [e["loss"] for e in history], color="#cc3333")
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color="#cc3333")
    left.set_ylim(bottom=0)
    right = left.twinx()
    right.plot(epochs, [e["accuracy"] for e in history], color="#3366cc")
    right.set_ylabel("test accuracy, %", color="#3366cc")
    left.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


# ---- training --------------------------------------------------------------------------------------------------------


def evaluate(net: nn.Module, loader: DataLoader, device: Any) -> float:
    """Share of right answers, in percent."""
    net.eval()
    right = total = 0
    with tg.no_grad():
        for x, y in loader:
            right += int((net(x.to(device)).argmax(1) == y.to(device)).sum().item())
            total += len(y)
    net.train()
    return 100 * right / max(total, 1)


def train(data: ImageSet, device: Any, epochs: int | None = None, seed: int = 0, workers: int = 0,
          show: bool = True) -> tuple[nn.Module, Any, list[dict[str, float]]]:
    """(net, optimizer, history) after training on `data.train_*`, tested after every epoch on `data.test_*`."""
    tg.manual_seed(seed)
    size = data.train_images.shape[1:]
    recipe = SMALL if min(size) < 16 else LARGE
    epochs = recipe["epochs"] if epochs is None else epochs
    classes = int(data.train_labels.max()) + 1
    scaled = data.train_images.astype(np.float32) / data.scale
    mean, std = float(scaled.mean()), float(scaled.std()) or 1.0
    train_set = ShiftedImages(data.train_images, data.train_labels, data.scale, mean, std, recipe["shift"], seed)
    test_set = ShiftedImages(data.test_images, data.test_labels, data.scale, mean, std, 0, seed)
    loader = DataLoader(train_set, batch_size=recipe["batch"], shuffle=True, drop_last=True, num_workers=workers,
                        persistent_workers=workers > 0, generator=seed)
    test_loader = DataLoader(test_set, batch_size=250)

    net = build_net(size, classes).to(device)
    optimizer = tg.optim.AdamW(net.parameters(), lr=recipe["lr"], weight_decay=0.01)
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, recipe["lr"], epochs=epochs, steps_per_epoch=len(loader))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    history: list[dict[str, float]] = []
    progress = Progress(epochs, len(loader))
    for epoch in range(1, epochs + 1):
        begin, losses = time.monotonic(), []
        for i, (x, y) in enumerate(loader, 1):
            x, y = x.to(device), y.to(device)
            loss = criterion(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise RuntimeError(f"the loss became {losses[-1]} in epoch {epoch}")
            if show:
                speed = i * recipe["batch"] / (time.monotonic() - begin)
                progress.show(epoch, i, f"loss {np.mean(losses):.4f}  {speed:,.0f} samples/s")
        speed = len(losses) * recipe["batch"] / (time.monotonic() - begin)
        accuracy = evaluate(net, test_loader, device)
        history.append({"loss": float(np.mean(losses)), "accuracy": accuracy, "speed": speed})
        if show:
            progress.show(epoch, len(loader),
                          f"loss {np.mean(losses):.4f}  accuracy {accuracy:5.1f} %  {speed:,.0f} samples/s", end=True)
    return net, optimizer, history


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tengen._quickstart", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", metavar="DIR", help="a directory with MNIST's four files (default: the embedded digits)"
    )
    parser.add_argument("--device", help="where to train (default: the best device found)")
    parser.add_argument("--epochs", type=int, help="how often to go through the data")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights, order and augmentation")
    parser.add_argument(
        "--out", metavar="DIR", default="quickstart-out", help="where results go (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    options = parser.parse_args(argv)
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    if options.workers < 0:
        parser.error(f"--workers must not be negative, got {options.workers}")
    try:
        data = load_idx_directory(options.data) if options.data else load_digits()
        device = tg.device(options.device) if options.device else tg.default_device()
        out = Path(options.out)
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    say_devices(device, bool(options.device))
    print(
        f"data {data.name}: {len(data.train_images):,} images to train, {len(data.test_images):,} held out - "
        f"{data.source}"
    )
    begin = time.monotonic()
    net, optimizer, history = train(data, device, options.epochs, options.seed, options.workers)
    accuracy = history[-1]["accuracy"]
    checkpoint = out / f"{data.name}.safetensors"
    tg.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "history": history, "seed": options.seed},
            checkpoint)
    title = f"{data.name}: {accuracy:.1f} % after {len(history)} epochs"
    draw_svg(out / f"{data.name}.svg", title, history)
    pictures = [f"{data.name}.svg"] + [f"{data.name}.png"] * draw_png(out / f"{data.name}.png", title, history)
    print(f"test accuracy: {accuracy:.1f} % (in {time.monotonic() - begin:.1f} s)")
    print(f"checkpoint: {checkpoint}")
    print(f"learning curve: {', '.join(str(out / p) for p in pictures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
