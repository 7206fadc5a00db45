# SPDX-License-Identifier: Apache-2.0
"""An LSTM reads a text as one stream and learns to go on with it.

    python lstm_text.py --data TEXT [--epochs 2] [--out lstm_text.safetensors] [--sample 500]
                        [--checkpoints DIRECTORY] [--save-every 200] [--resume]

The text is cut into STREAMS parallel streams, read STEPS characters at a time; the state goes on from one piece to the next,
the gradient does not (truncated back-propagation through time). With --checkpoints, a run that was stopped goes on with --resume bit for
bit: a checkpoint has the state between two pieces, too.
"""
import argparse
import time
from pathlib import Path

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import CharText
from tengen.train import checkpoint

STREAMS, STEPS, WIDTH, LAYERS = 32, 64, 192, 2


class Reader(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, WIDTH, LAYERS, batch_first=True)
        self.out = nn.Linear(WIDTH, characters)

    def forward(self, x, state=None):
        y, state = self.lstm(self.embedding(x), state)
        return self.out(y), state


def streams(codes, device):
    """i64 [STREAMS, n]: the text folded, with one character more for the targets."""
    n = (len(codes) - 1) // STREAMS
    x = tg.tensor(codes[:STREAMS * n].reshape(STREAMS, n), device=device)
    y = tg.tensor(codes[1:STREAMS * n + 1].reshape(STREAMS, n), device=device)
    return x, y


def pieces(x, y):
    for i in range(0, x.shape[1], STEPS):
        yield x[:, i:i + STEPS], y[:, i:i + STEPS]


def evaluate(net, codes, device):
    """The mean loss over a text."""
    state, total, count = None, 0.0, 0
    with tg.no_grad():
        for x, y in pieces(*streams(codes, device)):
            logits, state = net(x, state)
            total += F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
            count += y.numel()
    return total / count


def write(net, vocabulary, start, length, temperature=0.8):
    device = net.out.weight.device
    numbers = vocabulary.encode(start).tolist()
    with tg.no_grad():
        logits, state = net(tg.tensor([numbers], device=device))
        for _ in range(length):
            numbers.append(int(tg.multinomial(F.softmax(logits[0, -1] / temperature, -1), 1).item()))
            logits, state = net(tg.tensor([numbers[-1:]], device=device), state)
    return vocabulary.decode(numbers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a text file, or a directory with input.txt")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="lstm_text.safetensors", help="where the net is saved")
    parser.add_argument("--sample", type=int, default=500, help="how many characters to write at the end")
    parser.add_argument("--checkpoints", help="a directory for checkpoints of the training")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    args = parser.parse_args(argv)
    if args.resume and not args.checkpoints:
        parser.error("--resume needs --checkpoints DIRECTORY")
    tg.manual_seed(args.seed)
    device = tg.default_device()
    path = Path(args.data)
    text = CharText(path / "input.txt" if path.is_dir() else path, STEPS)
    train, held = text.split(0.9)
    net = Reader(len(text.vocabulary)).to(device)
    optimizer = tg.optim.Adam(net.parameters(), lr=4e-3)
    x, y = streams(train.codes, device)
    parts = list(pieces(x, y))
    steps = args.epochs * len(parts)
    schedule = tg.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    first, state = 0, None
    if args.resume and (newest := checkpoint.find(True, args.checkpoints)):
        saved = tg.load(newest, device="cpu")
        net.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first, state = saved["step"], tuple(s.to(device) for s in saved["state"])
        checkpoint.set_random_state(saved["random"])
    begin = time.monotonic()
    for step in range(first, steps):
        inputs, targets = parts[step % len(parts)]
        logits, state = net(inputs, state if step % len(parts) else None)  # every epoch begins without a state
        state = tuple(s.detach() for s in state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5} of {steps}: loss {loss.item():.4f}, {1000 * (time.monotonic() - begin) / (step + 1 - first):.0f} ms each", flush=True)
        if args.checkpoints and (step + 1) % args.save_every == 0:
            everything = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "step": step + 1,
                          "state": list(state), "random": checkpoint.random_state()}
            checkpoint.write(args.checkpoints, step + 1, everything, keep_last=3)
    loss = evaluate(net, held.codes, device)
    print(f"validation loss: {loss:.4f}")
    tg.save({"model": net.state_dict(), "vocabulary": "".join(text.vocabulary.characters), "loss": loss}, args.out)
    if args.sample:
        print(write(net, text.vocabulary, text.vocabulary.characters[0], args.sample))
    return loss


if __name__ == "__main__":
    main()
