# SPDX-License-Identifier: Apache-2.0
"""The embedded digits with tg.train.Trainer: python train_digits.py [--folder RUN] [--epochs N] [--resume] [--amp].

Stop it with Ctrl-C or kill -9 and start it again with --resume: it goes on as if nothing had happened.
"""
import argparse

import numpy as np

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import DataLoader, TensorDataset, load_digits


def dataset(images, labels):
    return TensorDataset((images.reshape(len(images), -1) / images.max()).astype(np.float32), labels.astype(np.int64))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="digits_run", help="of checkpoints")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--amp", action="store_true", help="products of matrices in bfloat16")
    parser.add_argument("--jit", action="store_true", help="the whole step as a static graph")
    options = parser.parse_args()

    tg.manual_seed(0)
    digits = load_digits()
    train, test = dataset(digits.train_images, digits.train_labels), dataset(digits.test_images, digits.test_labels)
    features = train.tensors[0].shape[1]
    model = nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    optimizer = tg.optim.AdamW(model.parameters(), lr=3e-3)
    loader = DataLoader(train, batch_size=32, shuffle=True, drop_last=True)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loader))
    trainer = tg.train.Trainer(
        model, F.cross_entropy, optimizer, scheduler=schedule, schedule_every="step", amp=options.amp or None,
        metrics={"accuracy": tg.metrics.Accuracy()}, clip_norm=5.0, checkpoints=options.folder, save_every=20, jit=options.jit,
        callbacks=[tg.train.EarlyStopping("val_accuracy", patience=10, mode="max")])
    history = trainer.fit(loader, DataLoader(test, batch_size=256), options.epochs, resume=options.resume)
    if trainer.interrupted:
        print(f"interrupted after step {trainer.step}; go on with --resume")
    elif history:
        print(f"best test accuracy {100 * max(h['val_accuracy'] for h in history):.1f} %")


if __name__ == "__main__":
    main()
