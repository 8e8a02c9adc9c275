"""The learning rates of PixPro's recipe."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

from tests.data_paths import shared_fixtures

SCHEDULES = Path(__file__).parents[3] / 'configs/_base_/schedules'


def rates(schedulers, lr, epochs, epoch_length):
    """Learning rate of every step, by mmengine's schedulers."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr))
    with DefaultScope.overwrite_default_scope('dense_ssl'):
        built = [
            PARAM_SCHEDULERS.build(
                cfg, default_args=dict(optimizer=wrapper, epoch_length=epoch_length)
            )
            for cfg in schedulers
        ]
    out = []
    for _ in range(epochs * epoch_length):
        out.append(wrapper.optimizer.param_groups[0]['lr'])
        for scheduler in built:
            scheduler.step()
    return np.array(out)


@pytest.mark.parametrize('epochs', [100, 400, 800])
def test_ends_of_the_schedule(epochs):
    cfg = Config.fromfile(SCHEDULES / f'lars_coslr_{epochs}e.py')
    assert cfg.train_cfg.max_epochs == epochs
    lr = rates(cfg.param_scheduler, 4.0, epochs, 4)
    assert lr[0] == pytest.approx(0.04)
    assert lr[19:21] == pytest.approx([4.0, 4.0])
    assert lr[-1] < 4 * 1e-4
    assert (np.diff(lr)[:19] > 0).all() and (np.diff(lr)[20:] < 0).all()


def test_against_the_released_schedule():
    """The cosine is the same; our warm-up is done one step earlier.

    mmengine's LinearLR reaches the full rate at the last step before `end`,
    the released code at `end` itself: at step i of W they are at
    i / (W - 1) and i / W of the way.
    """
    with np.load(shared_fixtures() / 'pixpro.npz') as z:
        lr, epochs, length, warmup, divisor, eta_min = z['lr/hyper']
        released = z['lr/used_at_iter']
    epochs, length, warmup = int(epochs), int(length), int(warmup)
    schedulers = Config.fromfile(SCHEDULES / 'lars_coslr_100e.py').param_scheduler
    linear, cosine = schedulers
    assert linear.start_factor == 1 / divisor and cosine.eta_min == eta_min
    linear.end = cosine.begin = warmup
    cosine.T_max, cosine.end = epochs - warmup, epochs
    ours = rates(schedulers, lr, epochs, length)
    steps = warmup * length
    assert np.allclose(ours[steps:], released[steps:], rtol=1e-9)
    i = np.arange(steps)
    start = lr / divisor
    assert np.allclose(released[:steps], start + (lr - start) * i / steps)
    assert np.allclose(ours[:steps], start + (lr - start) * i / (steps - 1))
    # so ours lies between the released rate of this step and of the next
    assert (ours[:steps] >= released[:steps] - 1e-12).all()
    assert (ours[:steps] <= released[1 : steps + 1] + 1e-12).all()
