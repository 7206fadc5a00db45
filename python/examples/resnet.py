# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 (He et al. 2016, arXiv:1512.03385) on MNIST, a set in its format, or CIFAR-10.

    python resnet.py --data DIRECTORY [--cifar] [--epochs 6] [--out resnet-run] [--resume]

The first layer is a 3 x 3 convolution of stride 2 (1 for --cifar) without a pool behind it, for small pictures. The aim: 98.5 %
of the official 10,000 test digits from 10,000 training digits.
"""
import argparse

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import CIFAR10, MNIST, DataLoader
from tengen.data import transforms as T


class Block(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self, channels, classes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layers = nn.Sequential(*(Block(inputs, outputs, step) for inputs, outputs, step in (
            (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1))))
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="where the files are")
    parser.add_argument("--cifar", action="store_true", help="CIFAR-10 instead of MNIST")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    parser.add_argument("--out", default="resnet-run", help="where checkpoints go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--jit", action="store_true", help="the whole step as a static graph")
    args = parser.parse_args(argv)
    tg.manual_seed(args.seed)
    kind, mean, std = (CIFAR10, (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)) if args.cifar else (MNIST, (0.1307,), (0.3081,))
    still = [T.ToFloat(), T.Normalize(mean, std)]
    moving = [T.RandomCrop(32, 4), T.RandomHorizontalFlip()] if args.cifar else [T.RandomAffine(8, (0.08, 0.08), (0.9, 1.1))]
    train = DataLoader(kind(args.data, transform=T.Compose([*moving, *still])), batch_size=64, shuffle=True, drop_last=True,
                       num_workers=args.workers, generator=args.seed)
    test = DataLoader(kind(args.data, train=False, transform=T.Compose(still)), batch_size=250, num_workers=args.workers)
    net = ResNet18(len(mean), 10, 1 if args.cifar else 2)
    optimizer = tg.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, epochs=args.epochs, steps_per_epoch=len(train))
    trainer = tg.train.Trainer(net, nn.CrossEntropyLoss(label_smoothing=0.05), optimizer, scheduler=schedule, schedule_every="step",
                               metrics={"accuracy": tg.metrics.Accuracy()}, device=tg.default_device(), checkpoints=args.out,
                               monitor="val_accuracy", mode="max", jit=args.jit)
    history = trainer.fit(train, test, args.epochs, resume=args.resume)
    print(f"test accuracy: {100 * history[-1]['val_accuracy']:.2f} %")
    return history


if __name__ == "__main__":
    main()
