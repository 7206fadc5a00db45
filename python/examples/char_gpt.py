# SPDX-License-Identifier: Apache-2.0
"""A small GPT learns to write by character, then writes.

    python char_gpt.py --data TEXT [--iterations 2000] [--seed 0] [--out char_gpt.safetensors] [--sample 500]
                       [--checkpoints DIRECTORY] [--save-every 500] [--resume]

The recipe is that of nanoGPT for a CPU: 4 layers, 4 heads, 128 wide, windows of 64 characters, batches of 12, 2,000
iterations, no dropout, with twice its peak learning rate. On tinyshakespeare it reaches a loss of 1.80 on the whole
validation split (its last tenth), where nanoGPT reports 1.88 on a sample of it (1.90 with its learning rate here). Writing keeps keys and
values of what has been read. With --checkpoints, a run that was stopped goes on with --resume bit for bit.
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np

import tengen as tg
import tengen.nn.functional as F
from tengen import nn
from tengen.data import CharText, Vocabulary
from tengen.train import checkpoint

LAYERS, HEADS, WIDTH, BLOCK, BATCH = 4, 4, 128, 64, 12
PEAK, FLOOR, WARM_UP = 2e-3, 1e-4, 100


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x, cache, position):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape((b, n, 3, HEADS, WIDTH // HEADS)).permute((2, 0, 3, 1, 4)).unbind(0)
        if cache is not None:  # [2, b, HEADS, BLOCK, features]
            k, v = F.kv_cache_append(cache[0], k, position), F.kv_cache_append(cache[1], v, position)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, causal_offset=position)
        return self.out(y.transpose(1, 2).reshape((b, n, WIDTH)))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH, bias=False), Attention()
        self.norm2 = nn.LayerNorm(WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x, cache, position):
        x = x + self.attention(self.norm1(x), cache, position)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Logits [b, n, characters] of numbers [b, n]; `position` is that of the first one when a cache holds those before."""

    def __init__(self, characters):
        super().__init__()
        self.token, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:  # what is added to the residual stream starts smaller
                nn.init.normal_(p, 0.0, 0.02 / math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 0.02)

    def forward(self, x, caches=None, position=0):
        h = self.token(x) + self.place(tg.arange(position, position + x.shape[1], device=x.device))
        for i, layer in enumerate(self.layers):
            h = layer(h, None if caches is None else caches[i], position)
        return F.linear(self.norm(h), self.token.weight)  # the embedding's own weights

    def caches(self, b):
        device = self.token.weight.device
        return [tg.zeros(2, b, HEADS, BLOCK, WIDTH // HEADS, device=device) for _ in self.layers]


def evaluate(net, text, device, batch=128):
    """The mean loss over the text, cut into windows of BLOCK."""
    total = count = 0
    with tg.no_grad():
        starts = np.arange(0, len(text), BLOCK)
        for i in range(0, len(starts), batch):
            x, y = (tg.tensor(a, device=device) for a in text.get_batch(starts[i:i + batch]))
            total += F.cross_entropy(net(x).flatten(0, 1), y.flatten(), reduction="sum").item()
            count += y.numel()
    return total / count


def write(net, vocabulary, start, length, temperature=0.8):
    """`length` characters that follow `start`. When the window is full, its second half is read again from its beginning."""
    device = net.token.weight.device
    numbers = vocabulary.encode(start).tolist()
    new, position, caches = numbers[-BLOCK:], 0, net.caches(1)
    with tg.no_grad():
        for _ in range(length):
            if position + len(new) > BLOCK:
                new, position = numbers[-BLOCK // 2:], 0
            logits = net(tg.tensor([new], device=device), caches, position)[0, -1]
            position += len(new)
            new = [int(tg.multinomial(F.softmax(logits / temperature, -1), 1).item())]
            numbers += new
    return vocabulary.decode(numbers)


def learning_rate(step, steps):
    if step < WARM_UP:
        return PEAK * (step + 1) / (WARM_UP + 1)
    return FLOOR + 0.5 * (PEAK - FLOOR) * (1 + math.cos(math.pi * (step - WARM_UP) / max(steps - WARM_UP, 1)))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a text file, or a directory with input.txt")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="char_gpt.safetensors", help="where the net is saved")
    parser.add_argument("--sample", type=int, default=500, help="how many characters to write at the end")
    parser.add_argument("--checkpoints", help="a directory for checkpoints of the training")
    parser.add_argument("--save-every", type=int, default=500, help="iterations between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    args = parser.parse_args(argv)
    if args.resume and not args.checkpoints:
        parser.error("--resume needs --checkpoints DIRECTORY")
    tg.manual_seed(args.seed)
    device = tg.default_device()
    path = Path(args.data)
    text = CharText(path / "input.txt" if path.is_dir() else path, BLOCK)
    vocabulary: Vocabulary = text.vocabulary
    train, held = text.split(0.9)
    net = GPT(len(vocabulary)).to(device)
    print(f"{len(text.codes):,} characters of {len(vocabulary)} kinds, {sum(p.numel() for p in net.parameters()):,} parameters, on {device}")
    matrices = [p for p in net.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.ndim != 2]
    optimizer = tg.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=PEAK, betas=(0.9, 0.99))
    draws, first = np.random.default_rng(args.seed), 0
    if args.resume and (newest := checkpoint.find(True, args.checkpoints)):
        saved = tg.load(newest, device="cpu")
        net.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        draws.bit_generator.state, first = saved["draws"], saved["step"]
        checkpoint.set_random_state(saved["random"])
    begin = time.monotonic()
    for step in range(first, args.iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.iterations)
        x, y = (tg.tensor(a, device=device) for a in train.get_batch(draws.integers(0, len(train), BATCH)))
        loss = F.cross_entropy(net(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == args.iterations - 1:
            print(f"iteration {step:5}: loss {loss.item():.4f}, {1000 * (time.monotonic() - begin) / (step + 1 - first):.1f} ms each", flush=True)
        if args.checkpoints and (step + 1) % args.save_every == 0:
            state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1,
                     "draws": draws.bit_generator.state, "random": checkpoint.random_state()}
            checkpoint.write(args.checkpoints, step + 1, state, keep_last=3)
    loss = evaluate(net, held, device)
    print(f"validation loss: {loss:.4f}")
    tg.save({"model": net.state_dict(), "vocabulary": "".join(vocabulary.characters), "loss": loss}, args.out)
    if args.sample:
        print(write(net, vocabulary, vocabulary.characters[0], args.sample))
    return loss


if __name__ == "__main__":
    main()
