"""The cells of a study, and what their commands leave behind."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional, Union

from dense_ssl.errors import UserError

from .budget import Budget
from .cells import Cell
from .labels import CocoLabels, SegmentationLabels
from .starts import RANDOM, RECIPES, Start

__all__ = ['Plan', 'read_curve', 'read_finetune', 'read_pretrain', 'read_probe']

SEGMENTATION = 'configs/benchmarks/mmsegmentation/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py'
DETECTION = 'configs/benchmarks/mmdetection/mask-rcnn_r50_fpn_1x_coco.py'
#: Their names in ``metrics.json``; COCO's are in [0, 1].
_SEGMENTATION = dict(mIoU='mIoU', aAcc='aAcc')
_DETECTION = dict(
    box_AP='coco/bbox_mAP',
    box_AP50='coco/bbox_mAP_50',
    mask_AP='coco/segm_mAP',
    mask_AP50='coco/segm_mAP_50',
)
_POINTS = 200  # of a curve


@dataclass
class Plan:
    """What all cells of a study share.

    Attributes:
        folder: Cells lie below it.
        budget: Their schedule.
        images: As ``--data`` takes it.
        count: How many there are.
        segmentation, detection: The labels, where there are some.
        tasks: Of ``probe``, ``segmentation`` and ``detection``.
        data: Digests of the data, by ``images``, ``segmentation`` and ``detection``.
        workers: Data-loading processes of a cell.
    """

    folder: Path
    budget: Budget
    images: Optional[str]
    count: int
    segmentation: Optional[SegmentationLabels]
    detection: Optional[CocoLabels]
    tasks: list[str]
    data: dict[str, str]
    workers: int

    def cells(
        self, starts: Iterable[Start], seeds: Iterable[int], labels: Iterable[float]
    ) -> list[Cell]:
        """All of them: seed by seed, so that a study broken off has compared whole rows."""
        found = []
        for seed in seeds:
            for start in starts:
                if start.config:
                    found.append(self.pretrain(start, seed))
                if 'probe' in self.tasks:
                    found.append(self.probe(start, seed))
            for task in ('segmentation', 'detection'):
                for part in labels if task in self.tasks else ():
                    found += [self.finetune(start, seed, task, part) for start in starts]
        return found

    def _cell(self, start: Start, seed: int, name: str, command, inputs: dict, **rest) -> Cell:
        row = f'{start.name}-seed{seed}'
        folder = self.folder / 'cells' / f'{start.slug}-seed{seed}' / name
        needs: tuple[str, ...] = ()
        inputs = dict(inputs, start=start.settings(), seed=seed)
        if start.config and name != 'pretrain':
            needs = (f'{row}/pretrain',)
            inputs['pretrain'] = self._pretraining
        about = dict(start=start.name, seed=seed, folder=str(folder.relative_to(self.folder)))
        return Cell(
            id=f'{row}/{name}',
            folder=folder,
            command=[sys.executable, *map(os.fspath, command(folder))],
            inputs=inputs,
            needs=needs,
            about={**about, **rest.pop('about')},
            **rest,
        )

    @property
    def _network(self) -> dict:
        return dict(depth=self.budget.depth, base_channels=self.budget.base_channels)

    @property
    def _pretraining(self) -> dict:
        keys = ('view_size', 'batch_size', 'pretrain_iters')
        schedule = {key: getattr(self.budget, key) for key in keys}
        return dict(self._network, **schedule, images=self.data.get('images'))

    def pretrain_words(self, start: Start, seed: int) -> list[str]:
        """Arguments of tools/train.py, apart from its work folder."""
        budget = self.budget
        words = [str(start.config), '--data', str(self.images), '--seed', str(seed)]
        words += ['--view-size', str(budget.view_size), '--iters', str(budget.pretrain_iters)]
        words += ['--batch-size', str(budget.batch_size), '--workers', str(self.workers)]
        words += ['--amp', 'bfloat16', '--channels-last', '--resume']
        if start.file:
            words += ['--init-from', start.file, '--init-parts', 'backbone']
        keep = _keep(budget.pretrain_iters)
        return [*words, '--cfg-options', *budget.network, *keep, *start.options]

    def pretrain(self, start: Start, seed: int) -> Cell:
        iters, batch = self.budget.pretrain_iters, self.budget.batch_size
        return self._cell(
            start,
            seed,
            'pretrain',
            lambda folder: _in(folder, 'tools/train.py', self.pretrain_words(start, seed)),
            self._pretraining,
            read=lambda folder: read_pretrain(folder, iters, iters * batch),
            about=dict(kind='pretrain', task=None, labels=None),
        )

    def _weights(self, start: Start, seed: int) -> str:
        """What fine-tuning and the probe begin with."""
        if start.config:
            cell = self.folder / 'cells' / f'{start.slug}-seed{seed}' / 'pretrain'
            return str(cell / f'iter_{self.budget.pretrain_iters}.pth')
        return start.file or RANDOM

    def probe(self, start: Start, seed: int) -> Cell:
        assert self.segmentation
        words = self.segmentation.words(1, seed)
        scale = map(str, self.budget.scale)

        def command(folder: Path) -> list[str]:
            return [
                *('tools/analysis/probe.py', start.config or RECIPES['densecl']),
                *(self._weights(start, seed), *words, '--scale', *scale, '--seed', str(seed)),
                *('--out', str(folder / 'probe.json')),
                *('--cfg-options', *self.budget.network, *start.options),
            ]

        return self._cell(
            start,
            seed,
            'probe',
            command,
            dict(self._network, scale=self.budget.scale, data=self.data['segmentation']),
            read=read_probe,
            about=dict(kind='probe', task='probe', labels=None),
        )

    def finetune_words(self, task: str, part: float, seed: int, weights: str) -> list[str]:
        """Arguments of tools/finetune.py, apart from its work folder."""
        budget, short = self.budget, str(self.budget.scale[1])
        labels = self.segmentation if task == 'segmentation' else self.detection
        assert labels
        words = [SEGMENTATION if task == 'segmentation' else DETECTION, '--init-from', weights]
        words += [*labels.words(part, seed), *budget.small, '--scale', *map(str, budget.scale)]
        words += ['--iters', str(budget.finetune_iters), '--seed', str(seed)]
        words += ['--batch-size', str(budget.finetune_batch), '--workers', str(self.workers)]
        # Not --resume: mmengine's loops by iteration go on with other random numbers.
        words += ['--overwrite']
        options = ['+default_hooks.checkpoint.max_keep_ckpts=1']
        if task == 'segmentation':
            # a small part of the labels may lack a rare class
            words += ['--crop', short, short, '--accept-absent-classes']
            # not detection: mmcv's operators have no bfloat16 on a CPU
            words += ['--amp', 'bfloat16', '--channels-last']
            options.append(f'optim_wrapper.optimizer.lr={budget.segmentation_lr}')
        return [*words, '--cfg-options', *options]

    def finetune(self, start: Start, seed: int, task: str, part: float) -> Cell:
        budget = self.budget
        names = _SEGMENTATION if task == 'segmentation' else _DETECTION
        keys = ('scale', 'finetune_iters', 'finetune_batch', 'head_width', 'segmentation_lr')
        weights = self._weights(start, seed)

        def command(folder: Path) -> list[str]:
            return _in(folder, 'tools/finetune.py', self.finetune_words(task, part, seed, weights))

        inputs = {key: getattr(budget, key) for key in keys}
        inputs['amp'] = 'bfloat16' if task == 'segmentation' else None
        return self._cell(
            start,
            seed,
            f'{task}-{part}',
            command,
            dict(self._network, **inputs, task=task, labels=part, data=self.data[task]),
            read=lambda folder: read_finetune(
                folder, names, budget.finetune_iters * budget.finetune_batch
            ),
            about=dict(kind='finetune', task=task, labels=part),
        )

    def schedule(self) -> dict:
        """The budget as JSON data."""
        return {**asdict(self.budget), 'scale': list(self.budget.scale)}


def _keep(iters: int) -> list[str]:
    """A checkpoint ten times in a run, the newest kept."""
    interval = f'default_hooks.checkpoint.interval={max(1, iters // 10)}'
    return [interval, '+default_hooks.checkpoint.max_keep_ckpts=1']


def _in(folder: Path, tool: str, words: list[str]) -> list[str]:
    """The command with its work folder, which comes before ``--cfg-options``."""
    return [tool, words[0], '--work-dir', str(folder), *words[1:]]


def _config(folder: Path) -> Optional[str]:
    """The whole config that the run used."""
    return next((path.name for path in sorted(folder.glob('*.py'))), None)


def read_curve(folder: Path) -> list[dict]:
    """What training logged, by step, of all its attempts; evenly thinned where it is long."""
    steps: dict[int, dict] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # cut off by a kill
                continue
            values = {k: v for k, v in record.items() if isinstance(v, (int, float))}
            for key in ('time', 'data_time', 'memory', 'iter', 'epoch'):
                values.pop(key, None)
            steps.setdefault(record.get('step', 0), {}).update(values)
    curve = [dict(values, step=step) for step, values in sorted(steps.items())]
    every = -(-len(curve) // _POINTS) or 1
    return curve[::-1][::every][::-1]  # the last one always


def read_pretrain(folder: Path, iters: int, images_seen: int) -> dict:
    """Results of a pre-training."""
    checkpoint = folder / f'iter_{iters}.pth'
    if not checkpoint.is_file():
        raise UserError(f'{checkpoint} is missing.')
    return dict(
        metrics={}, images_seen=images_seen, config=_config(folder), curve=read_curve(folder)
    )


def read_probe(folder: Path) -> dict:
    """Results of tools/analysis/probe.py."""
    found = json.loads((folder / 'probe.json').read_text(encoding='utf-8'))
    metrics = {key: found[key] for key in ('probe_mIoU', 'knn_mIoU') if key in found}
    return dict(metrics=metrics, classes=found.get('classes', {}), config=_config(folder))


def read_finetune(folder: Path, names: dict[str, str], images_seen: int) -> dict:
    """Results of tools/finetune.py, in percent."""
    found = json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))['metrics']
    metrics: dict[str, Union[int, float]] = {
        name: round(found[key] * (100 if key.startswith('coco/') else 1), 4)
        for name, key in names.items()
        if key in found
    }
    if not metrics:
        raise UserError(f'{folder / "metrics.json"} has none of {", ".join(names.values())}.')
    return dict(
        metrics=metrics, images_seen=images_seen, config=_config(folder), curve=read_curve(folder)
    )
