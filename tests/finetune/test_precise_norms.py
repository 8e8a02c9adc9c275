"""Norm statistics that a detector's real run evaluates with."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from .test_benchmark_configs import DETECTION, options
from .tiny_data import write_coco

BATCHES = 3


class Watch(Hook):
    """Each norm's inputs since the last step, by mean and variance."""

    priority = 'HIGH'  # before the hook under test

    def before_train(self, runner):
        self.batches, self.validations = {}, []
        self.norms = {
            name: module
            for name, module in runner.model.named_modules()
            if isinstance(module, _BatchNorm)
        }
        for name, norm in self.norms.items():
            norm.register_forward_pre_hook(self.recorder(name))

    def recorder(self, name):

        def record(norm, inputs):
            if norm.training:
                rows = inputs[0].detach().double().transpose(0, 1).flatten(1)
                self.batches[name].append((rows.mean(1), rows.var(1)))

        return record

    def before_train_iter(self, runner, *args, **kwargs):
        self.batches = {name: [] for name in self.norms}

    def after_train_iter(self, runner, *args, **kwargs):
        assert all(len(seen) == 1 for seen in self.batches.values())
        self.steps = {name: norm.running_mean.clone() for name, norm in self.norms.items()}
        self.batches = {name: [] for name in self.norms}

    def before_val(self, runner):
        self.validations.append(
            (
                runner.iter,
                {
                    name: (norm.running_mean.clone(), norm.running_var.clone())
                    for name, norm in self.norms.items()
                },
                self.batches,
                self.steps,
            )
        )
        self.batches = {name: [] for name in self.norms}


def test_a_detectors_run_averages_them_before_it_evaluates(tmp_path):
    pytest.importorskip('mmdet')
    from dense_ssl.cli.build import build_config

    ann, images = write_coco(tmp_path, images=10)
    cfg = build_config(
        options(
            DETECTION,
            tmp_path,
            coco_ann=ann,
            coco_images=images,
            scale=(64, 64),
            iters=None,
            cfg_options={
                '+experiment_name': tmp_path.name,
                'train_cfg.max_iters': 4,
                'train_cfg.val_interval': 2,
                'custom_hooks.0.iterations': BATCHES,
                'default_hooks.checkpoint.interval': 4,
            },
        )
    )
    runner = Runner.from_cfg(cfg)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert [done for done, *_ in watch.validations] == [2, 4]
    assert len(watch.norms) > 30
    for _, statistics, batches, steps in watch.validations:
        for name, (mean, var) in statistics.items():
            means, variances = map(torch.stack, zip(*batches[name]))
            assert len(means) == BATCHES, name
            torch.testing.assert_close(mean.double(), means.mean(0), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(var.double(), variances.mean(0), rtol=1e-4, atol=1e-5)
            # not what training left behind
            assert not torch.allclose(mean, steps[name], rtol=1e-3), name
    saved = torch.load(tmp_path / 'work' / 'iter_4.pth', weights_only=False)
    for name, (mean, _) in watch.validations[-1][1].items():
        assert torch.equal(saved['state_dict'][f'{name}.running_mean'], mean)
        assert watch.norms[name].momentum == 0.1
