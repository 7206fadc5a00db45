# SPDX-License-Identifier: Apache-2.0
"""The optimizers' papers in NumPy (float64), and a problem on which to run both."""
import math

import numpy as np

import tengen as tg
from tengen import nn, optim

STEPS = 12
SHAPES = [(5, 3), (4,), (), (2, 3, 2)]


# ---- the papers -------------------------------------------------------------------------------------------------------
# Each takes p and the gradients of all steps, and yields nothing but the last p.


def asgd(p, grads, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0):
    for t, g in enumerate(grads):
        eta = lr / (1 + lambd * lr * t) ** alpha
        p = p - eta * (g + weight_decay * p) - eta * lambd * p
    return p


def lion(p, grads, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    m = np.zeros_like(p)
    for g in grads:
        p = p - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


def rprop(p, grads, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    step, last = np.full_like(p, lr), np.zeros_like(p)
    p, step, last = p.reshape(-1).copy(), step.reshape(-1), last.reshape(-1)
    shape = grads[0].shape
    for g in (g.reshape(-1) for g in grads):
        for i in range(len(p)):
            now = g[i]
            if now * last[i] > 0:
                step[i] = min(step[i] * etas[1], step_sizes[1])
            elif now * last[i] < 0:
                step[i] = max(step[i] * etas[0], step_sizes[0])
                now = 0.0
            p[i] -= np.sign(now) * step[i]
            last[i] = now
    return p.reshape(shape)


def nadam(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
          decoupled_weight_decay=False):
    m = v = np.zeros_like(p)
    mu = lambda t: betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    for t, g in enumerate(grads, 1):
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        product = math.prod(mu(i) for i in range(1, t + 1))
        m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        p = p - lr * m_hat / (np.sqrt(v / (1 - betas[1]**t)) + eps)
    return p


def radam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    m = v = np.zeros_like(p)
    b1, b2 = betas
    inf = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        if decoupled_weight_decay:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat = m / (1 - b1**t)
        rho = inf - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho))
            p = p - lr * m_hat * r * math.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        else:
            p = p - lr * m_hat
    return p


def adamax(p, grads, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = u = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        g = g + weight_decay * p
        m, u = betas[0] * m + (1 - betas[0]) * g, np.maximum(betas[1] * u, np.abs(g) + eps)
        p = p - lr / (1 - betas[0]**t) * m / u
    return p


def adagrad(p, grads, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(grads, 1):
        g = g + weight_decay * p
        total = total + g * g
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(p, grads, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    v = u = np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        p = p - lr * d
    return p


def rmsprop(p, grads, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v = a = b = np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        v, a = alpha * v + (1 - alpha) * g * g, alpha * a + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - a * a if centered else v) + eps)
        p = p - lr * b
    return p


def lamb(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        r = m / (1 - betas[0]**t) / (np.sqrt(v / (1 - betas[1]**t)) + eps) + weight_decay * p
        norms = np.linalg.norm(p.ravel()), np.linalg.norm(r.ravel())
        p = p - lr * (norms[0] / norms[1] if min(norms) > 0 else 1) * r
    return p


def lars(p, grads, lr=0.1, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8):
    v = np.zeros_like(p)
    for g in grads:
        w, n = np.linalg.norm(p.ravel()), np.linalg.norm(g.ravel())
        local = trust_coefficient * w / (n + weight_decay * w + eps) if w > 0 and n > 0 else 1.0
        v = momentum * v + lr * local * (g + weight_decay * p)
        p = p - v
    return p


def adafactor(p, grads, lr=1e-2, beta2_decay=-0.8, eps=(1e-10, 1e-3), d=1.0, weight_decay=0.0):
    rms = lambda x: math.sqrt((x * x).mean())
    row = col = v = 0.0
    for t, g in enumerate(grads, 1):
        beta2 = 1 - t**beta2_decay
        alpha = max(eps[1], rms(p)) * min(lr, 1 / math.sqrt(t))
        p = p * (1 - lr * weight_decay)
        if g.ndim > 1:
            row = beta2 * row + (1 - beta2) * (g * g).mean(-1, keepdims=True)
            col = beta2 * col + (1 - beta2) * (g * g).mean(-2, keepdims=True)
            v = row * col / row.mean(-2, keepdims=True)
        else:
            v = beta2 * v + (1 - beta2) * g * g
        u = g / np.sqrt(v)
        p = p - alpha * u / max(1.0, rms(u) / d)
    return p


CASES = [
    (optim.ASGD, asgd, {}), (optim.ASGD, asgd, dict(lr=0.1, lambd=0.3, alpha=0.5, weight_decay=0.2)),
    (optim.Lion, lion, {}), (optim.Lion, lion, dict(lr=0.1, betas=(0.6, 0.8), weight_decay=0.3)),
    (optim.Rprop, rprop, {}), (optim.Rprop, rprop, dict(lr=0.1, etas=(0.3, 1.5), step_sizes=(0.05, 0.2))),
    (optim.NAdam, nadam, {}), (optim.NAdam, nadam, dict(lr=0.1, betas=(0.7, 0.9), weight_decay=0.2, momentum_decay=0.5)),
    (optim.NAdam, nadam, dict(lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)),
    (optim.RAdam, radam, {}), (optim.RAdam, radam, dict(lr=0.1, betas=(0.7, 0.99), weight_decay=0.2)),
    (optim.RAdam, radam, dict(lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)),
    (optim.Adamax, adamax, {}), (optim.Adamax, adamax, dict(lr=0.1, betas=(0.5, 0.7), eps=1e-2, weight_decay=0.3)),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, dict(lr=0.1, lr_decay=0.2, weight_decay=0.3, initial_accumulator_value=0.5, eps=1e-2)),
    (optim.Adadelta, adadelta, {}), (optim.Adadelta, adadelta, dict(lr=0.5, rho=0.6, eps=1e-2, weight_decay=0.2)),
    (optim.RMSprop, rmsprop, {}), (optim.RMSprop, rmsprop, dict(momentum=0.8, alpha=0.7, weight_decay=0.2)),
    (optim.RMSprop, rmsprop, dict(centered=True, alpha=0.7, eps=0.1)),
    (optim.RMSprop, rmsprop, dict(centered=True, momentum=0.5, alpha=0.6, eps=0.1, weight_decay=0.1)),
    (optim.LAMB, lamb, {}), (optim.LAMB, lamb, dict(lr=0.1, weight_decay=0.2)),
    (optim.LARS, lars, {}), (optim.LARS, lars, dict(lr=1.0, momentum=0.5, weight_decay=0.2, trust_coefficient=0.1)),
    (optim.Adafactor, adafactor, dict(eps=(1e-10, 1e-3))),
    (optim.Adafactor, adafactor, dict(lr=0.5, beta2_decay=-0.5, eps=(1e-10, 0.1), d=1.5, weight_decay=0.1)),
]
IDS = [f"{c.__name__}-{i}" for i, (c, _, _) in enumerate(CASES)]


def problem(shape, seed=0):
    rng = np.random.RandomState(seed)
    return np.float64(rng.randn(*shape)), [np.float64(rng.randn(*shape)) for _ in range(STEPS)]  # 0-d ones are NumPy scalars


def run(cls, options, dtype, maximize=False):
    """All SHAPES at once, in one group; gives parameters and what they began with and met."""
    problems = [problem(s, i) for i, s in enumerate(SHAPES)]
    params = [nn.Parameter(tg.tensor(np.asarray(p), dtype=dtype)) for p, _ in problems]
    optimizer = cls(params, maximize=maximize, **options)
    for t in range(STEPS):
        for p, (_, grads) in zip(params, problems):
            p.grad = tg.tensor(np.asarray(-grads[t] if maximize else grads[t]), dtype=dtype)
        optimizer.step()
    return params, problems, optimizer
