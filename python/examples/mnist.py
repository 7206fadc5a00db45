# SPDX-License-Identifier: Apache-2.0
"""A convolutional net reads MNIST, or a set in its format, with tengen.train doing the loop.

    python mnist.py --data DIRECTORY [--epochs 8] [--out mnist-run] [--resume]

On 10,000 training digits it reaches 98.7 % or more of the official 10,000 test digits. Stopped by Ctrl-C, or in any other way, it goes
on with --resume bit for bit.
"""
import argparse

import numpy as np

import tengen as tg
from tengen import nn
from tengen.data import MNIST, DataLoader, Dataset


class Shifted(Dataset):
    """Normalised digits, each moved at random by up to `most` pixels; a whole batch at a time."""

    def __init__(self, data, most):
        self.most = most
        self.images = np.pad((data.data[:, 0] / np.float32(255) - 0.1307) / 0.3081, ((0, 0), (most, most), (most, most)), mode="edge")
        self.labels = data.targets

    def __len__(self):
        return len(self.labels)

    def get_batch(self, at):
        size = self.images.shape[1] - 2 * self.most
        dy, dx = tg.randint(0, 2 * self.most + 1, (2, len(at), 1)).numpy()  # follows tg.manual_seed, and the checkpoint
        rows, columns = dy + np.arange(size), dx + np.arange(size)
        return self.images[at[:, None, None], rows[:, :, None], columns[:, None, :]][:, None].astype(np.float32), self.labels[at]


def build_net():
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(*block(1, 24), *block(24, 24), nn.MaxPool2d(2), *block(24, 48), *block(48, 48), nn.MaxPool2d(2),
                         *block(48, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a directory with MNIST's four files")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", default="mnist-run", help="where checkpoints go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--jit", action="store_true", help="the whole step as a static graph")
    args = parser.parse_args(argv)
    tg.manual_seed(args.seed)
    train = DataLoader(Shifted(MNIST(args.data), 2), batch_size=64, shuffle=True, drop_last=True, generator=args.seed)
    test = DataLoader(Shifted(MNIST(args.data, train=False), 0), batch_size=500)
    net = build_net().to(tg.default_device())
    optimizer = tg.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs=args.epochs, steps_per_epoch=len(train))
    trainer = tg.train.Trainer(net, nn.CrossEntropyLoss(label_smoothing=0.05), optimizer, scheduler=schedule, schedule_every="step",
                               metrics={"accuracy": tg.metrics.Accuracy()}, device=tg.default_device(), checkpoints=args.out,
                               monitor="val_accuracy", mode="max", jit=args.jit)
    history = trainer.fit(train, test, args.epochs, resume=args.resume)
    print(f"test accuracy: {100 * history[-1]['val_accuracy']:.2f} %")
    return history


if __name__ == "__main__":
    main()
