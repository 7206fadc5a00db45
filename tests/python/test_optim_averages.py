# SPDX-License-Identifier: Apache-2.0
"""Gradients' norms; averaged models."""
import math

import numpy as np
import pytest
from optimizer_papers import SHAPES

import tengen as tg
from tengen import nn
from tengen.optim import swa_utils


def test_clipping_by_norm():
    rng = np.random.RandomState(0)
    arrays = [rng.randn(*s) * 3 for s in SHAPES]
    params = [nn.Parameter(tg.tensor(np.asarray(a))) for a in arrays]
    for norm_type in (1.0, 2.0, 3.0, math.inf):
        for p, a in zip(params, arrays):
            p.grad = tg.tensor(np.asarray(a))
        total = nn.utils.clip_grad_norm_(params, 0.7, norm_type)
        flat = np.concatenate([np.ravel(a) for a in arrays])
        want = np.linalg.norm(flat, norm_type)
        assert total.item() == pytest.approx(want, rel=1e-12)
        for p, a in zip(params, arrays):
            np.testing.assert_allclose(p.grad.numpy(), a * 0.7 / (want + 1e-6), rtol=1e-12)
        nn.utils.clip_grad_norm_(params, 1e9, norm_type)
        np.testing.assert_allclose(params[0].grad.numpy(), arrays[0] * 0.7 / (want + 1e-6), rtol=1e-12)
    params[0].grad = tg.full((5, 3), float("inf"), dtype=tg.float64)
    with pytest.raises(RuntimeError, match="norm"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert nn.utils.get_total_norm([]).item() == 0


def test_averaged_model_and_update_bn():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    mean, ema = swa_utils.AveragedModel(model), swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.8))
    single = swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn(0.8))
    seen, average = [], None
    for i in range(5):
        with tg.no_grad():
            model[0].weight.copy_(tg.full((4, 3), float(i * i)))
        for m in (mean, ema, single):
            m.update_parameters(model)
        seen.append(i * i)
        average = seen[-1] if average is None else 0.8 * average + 0.2 * seen[-1]
    assert mean.module[0].weight.detach().numpy() == pytest.approx(np.mean(seen), rel=1e-6)
    assert ema.module[0].weight.detach().numpy() == pytest.approx(average, rel=1e-6)
    assert single.module[0].weight.detach().numpy() == pytest.approx(average, rel=1e-6)
    assert mean.n_averaged.item() == 5 and model[0].weight.detach().numpy()[0, 0] == 16
    x = [tg.rand(8, 3) for _ in range(3)]
    swa_utils.update_bn(x, mean)
    inner = [mean.module[0](b).detach().numpy() for b in x]
    np.testing.assert_allclose(mean.module[1].running_mean.numpy(), np.mean([b.mean(0) for b in inner], 0), rtol=1e-4)
    np.testing.assert_allclose(mean.module[1].running_var.numpy(), np.mean([b.var(0, ddof=1) for b in inner], 0), rtol=1e-3,
                               atol=1e-6)
    assert mean.module[1].momentum == 0.1 and mean.training
    with pytest.raises(ValueError, match="got both"):
        swa_utils.AveragedModel(model, avg_fn=lambda *a: 0, multi_avg_fn=lambda *a: 0)
