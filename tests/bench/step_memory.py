# SPDX-License-Identifier: Apache-2.0
"""Peak memory of training steps of a ResNet-18, of any package with PyTorch's names, in this process alone.

    python step_memory.py PACKAGE [--batch 8] [--size 224] [--steps 3]

Prints JSON: MB of peak resident memory above what was resident after the import, of which the kernel says
(VmHWM and VmRSS of /proc/self/status), and the loss. run.py runs it for tengen and, with --torch, for PyTorch.
"""
import argparse
import importlib
import json


def resident(which):
    """MB of this process by the kernel's count: VmRSS now, VmHWM at most so far."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(which)) / 1000


def build(nn):
    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            same = stride == 1 and inputs == outputs
            self.down = None if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (x if self.down is None else self.down(x))).relu()

    widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1))
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                         *(Block(*w) for w in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", help="tengen, torch, ...")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    t = importlib.import_module(args.package)
    functional = importlib.import_module(args.package + ".nn.functional")
    t.set_num_threads(args.threads)
    t.manual_seed(0)
    (t.ones(4) + 1).sum().item()  # what a package loads late - plugins, for one - is not the step's
    before = resident("VmRSS")
    net = build(t.nn)
    optimizer = t.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x = t.randn(args.batch, 3, args.size, args.size)
    y = t.arange(args.batch)
    for _ in range(args.steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    print(json.dumps({"version": t.__version__, "before": before, "peak": resident("VmHWM"), "loss": loss.item()}))


if __name__ == "__main__":
    main()
