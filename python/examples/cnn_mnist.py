# SPDX-License-Identifier: Apache-2.0
"""A convolutional net reads MNIST (or a set in its format): python cnn_mnist.py DIRECTORY [CHECKPOINT].

Saves a checkpoint after every epoch and goes on from it when started again.
"""
import os
import sys

import numpy as np

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import DataLoader, TensorDataset, load_idx_directory

EPOCHS = 5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.3)
        self.fc1 = nn.Linear(32 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.fc1(F.flatten(x, 1)))
        return self.fc2(self.dropout(x))


def dataset(images, labels):
    return TensorDataset((images.astype(np.float32)[:, None] / 255 - 0.1307) / 0.3081, labels.astype(np.int64))


def accuracy(net, loader, device):
    net.eval()
    with tg.no_grad():
        right = sum((net(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in loader)
    net.train()
    return 100 * right / len(loader.dataset)


def main(directory, checkpoint="cnn_mnist.safetensors"):
    tg.manual_seed(0)
    device = tg.default_device()
    data = load_idx_directory(directory)
    train = DataLoader(dataset(data.train_images, data.train_labels), batch_size=64, shuffle=True, drop_last=True)
    test = DataLoader(dataset(data.test_images, data.test_labels), batch_size=500)
    net = Net().to(device)
    optimizer = tg.optim.AdamW(net.parameters(), lr=2e-3)
    scheduler = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    first = 0
    if os.path.exists(checkpoint):
        saved = tg.load(checkpoint)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        first = saved["epochs"]
        print(f"going on after epoch {first}")
    for epoch in range(first, EPOCHS):
        for i, (x, y) in enumerate(train):
            loss = F.cross_entropy(net(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if i % 50 == 0:
                print(f"epoch {epoch + 1} batch {i:4}: loss {loss.item():.4f}")
        scheduler.step()
        print(f"epoch {epoch + 1}: test accuracy {accuracy(net, test, device):.2f} %")
        tg.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
                 "epochs": epoch + 1}, checkpoint)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
