# SPDX-License-Identifier: Apache-2.0
"""A two-layer net reads the embedded digits: the shortest whole training program. About two seconds."""
import numpy as np

import tengen as tg
from tengen import nn
from tengen.data import DataLoader, TensorDataset, load_digits

tg.manual_seed(0)
device = tg.default_device()
digits = load_digits()


def prepare(images, labels):
    return TensorDataset(images.reshape(len(images), -1).astype(np.float32) / digits.scale, labels.astype(np.int64))


train = DataLoader(prepare(digits.train_images, digits.train_labels), batch_size=32, shuffle=True)
test_x, test_y = prepare(digits.test_images, digits.test_labels).tensors

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
optimizer = tg.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
print(model)

for epoch in range(15):
    total = 0.0
    for x, y in train:
        loss = criterion(model(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch + 1:2}: loss {total / len(train):.4f}")

with tg.no_grad():
    guess = model(tg.tensor(test_x, device=device)).argmax(1).cpu().numpy()
print(f"test accuracy: {100 * (guess == test_y).mean():.1f} %")
