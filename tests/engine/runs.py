"""Short real training runs on a folder of random images."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ..models import tiny  # noqa: F401  (registers TinyBackbone)

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
# Random names would come again, for runs seed all generators: mmengine would then add one run's
# log to another's.
NUMBERS = itertools.count()


def image_folder(root: Path, count: int, size: int = 24) -> Path:
    """``count`` random images."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (size, size + i % 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f'{i:03}.png')
    return root


class Recorder(Hook):
    """Keeps what each iteration logged."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.momenta = [], []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.losses.append(outputs['loss'].item())
        self.momenta += [
            m.current_momentum() for m in runner.model.modules() if hasattr(m, 'current_momentum')
        ]


def config(name: str, data_root, work_dir, epochs=2, **options) -> Config:
    """Config ``name`` (under configs/) shrunk to the tiny backbone."""
    cfg = Config.fromfile(CONFIGS / name)
    cfg.work_dir = str(work_dir)
    cfg.model.backbone = dict(type='TinyBackbone')
    cfg.merge_from_dict(
        {
            'model.projector.in_channels': 8,
            'model.projector.hidden_channels': 8,
            'train_dataloader.dataset.data_root': str(data_root),
            'train_dataloader.dataset.pipeline.1.view_size': 16,
            'train_dataloader.num_workers': 0,
            'train_dataloader.batch_size': 4,
            'train_dataloader.pin_memory': False,
            'train_cfg.max_epochs': epochs,
            'default_hooks.checkpoint.interval': 1,
            'randomness.seed': 0,
            'log_level': 'WARNING',
            **options,
        }
    )
    return cfg


def train(cfg: Config) -> tuple:
    """Run ``cfg``; returns the runner and what was recorded."""
    cfg.experiment_name = f'run_{next(NUMBERS)}'
    runner = Runner.from_cfg(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


def environment() -> dict:
    """In which a process finds this project and its tests."""
    here = dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', PYTHON=sys.executable)
    return {**os.environ, **here, 'CUDA_VISIBLE_DEVICES': '-1'}


def start(cfg: Config, *arguments, tool='tools/train.py', **options) -> subprocess.Popen:
    """``cfg`` by a tool in a process of its own; both outputs in one pipe."""
    cfg.custom_imports = dict(
        imports=['tests.models.tiny', 'tests.engine.killers'], allow_failed_imports=False
    )
    path = Path(f'{cfg.work_dir}_{uuid4().hex}.py')
    cfg.dump(path)
    command = [sys.executable, ROOT / tool, path, '--work-dir', cfg.work_dir, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )


def finish(cfg: Config, *arguments, **options) -> tuple:
    """Exit code and output of such a process."""
    process = start(cfg, *arguments, **options)
    output = process.communicate(timeout=300)[0]
    return process.returncode, output
