"""A study: its folder, its cells, their results."""

import argparse
import dataclasses
import errno
import importlib.metadata
import json
import logging
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from dense_ssl.cli.arguments import finetune_parser, train_parser
from dense_ssl.cli.build import build_config
from dense_ssl.cli.config import load_config
from dense_ssl.engine.work_folder import claim
from dense_ssl.errors import MissingFile, UserError
from dense_ssl.files import write_atomically
from dense_ssl.registry import DATASETS
from dense_ssl.version import __version__

from .arguments import TASKS
from .budget import BUDGETS, Budget, find_budget
from .cells import Cell, digest, fingerprint, pretty
from .estimate import remaining, set_priors
from .labels import CocoLabels, SegmentationLabels
from .pictures import draw_pictures
from .plan import Plan
from .progress import Progress
from .report import write_report
from .running import REPOSITORY, Launcher, LocalLauncher, SlurmLauncher, cores, devices, run_cells
from .starts import RANDOM, Start, check_weights, read_starts

__all__ = ['Study']

SPECIFICATION = 'study.json'
RESULTS = 'results.json'
_METRICS = dict(probe='probe_mIoU', segmentation='mIoU', detection='box_AP')
_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmdetection', 'mmsegmentation')
#: A report is written in between no more often, in seconds.
_REPORT_EVERY = 60
_OVERRIDES = dict(
    depth='depth',
    base_channels='base_channels',
    iters='pretrain_iters',
    view_size='view_size',
    batch_size='batch_size',
    finetune_iters='finetune_iters',
    finetune_batch='finetune_batch',
    scale='scale',
)


class Study:
    """Data x starts x seeds x parts of the labels, compared by one schedule.

    Args:
        args: Of :func:`~.arguments.compare_parser`.
        launcher: Runs the cells; by default what ``args`` say.
        say: Takes lines for the user.

    Raises:
        UserError: What was given cannot be used, or the folder is of another study.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        launcher: Optional[Launcher] = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.args, self.say = args, say
        self.folder = Path(args.work_dir).absolute()
        self.notes: list[str] = []
        self.reported = time.time()
        MMLogger.get_current_instance().setLevel(logging.WARNING)
        starts = read_starts(args.methods, args.set, args.init_from)
        if args.seeds < 1:
            raise UserError(f'--seeds must be 1 or more, got {args.seeds}.')
        wrong = [part for part in args.labels if not 0 < part <= 1]
        if wrong:
            raise UserError(f'--labels {wrong[0]}: parts lie above 0 and at 1 at most.')
        self._check_paths(starts)
        for start in starts:
            if start.config:
                start.recipe = digest(load_config(str(REPOSITORY / start.config)).to_dict())
        self.launcher = launcher or self._find_launcher()
        self.old = self._read_old()
        self.plan = self._make_plan(starts)
        self._settle(starts)
        self.cells = self.plan.cells(self.starts, range(self.seeds), self.labels)

    def run(self) -> dict:
        """All cells that are not done; the results, which are also in the folder.

        Raises:
            UserError: Another study runs in the folder, the data or settings cannot be used, or the
                disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with claim(str(self.folder)):
            try:
                return self._run()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise UserError(
                    f'no space left for {self.folder}: make room, then give the same command again.'
                ) from error

    def _run(self) -> dict:
        for cell in self.cells:
            cell.recall()
        self._check()
        to_do = [cell for cell in self.cells if cell.state == 'to do']
        places = self.launcher.places
        if to_do:
            seconds = remaining(self.cells, places, time.time())
            self.say(
                f'{len(self.cells)} cells, {len(self.cells) - len(to_do)} done before, '
                f'{min(places, len(to_do))} at a time; about {pretty(seconds)}.'
            )
        for note in self.notes:
            self.say(note)
        if self.args.dry_run:
            for cell in to_do:
                self.say(f'# {cell.id}\n{shlex.join(cell.command)}')
            return self.results()
        self._save()
        self._write()
        with Progress(self.cells, places, self.say) as progress:

            def changed(cell: Cell) -> None:
                progress.changed(cell)
                self._write()
                if time.time() - self.reported > _REPORT_EVERY:
                    self._report()

            try:
                run_cells(self.cells, self.launcher, changed, progress.tick)
            finally:
                self._write()
        draw_pictures(self.cells, self.folder / 'pictures', self.say)
        self._report()
        return self.results()

    def results(self) -> dict:
        """What reports are made of."""
        budget = self.plan.schedule()
        return dict(
            study=dict(
                command=shlex.join(['python', *sys.argv]),
                versions=_versions(),
                images=self.plan.count,
                methods=[start.name for start in self.starts],
                seeds=list(range(self.seeds)),
                labels=self.labels,
                budget=budget,
                tasks={task: dict(metric=_METRICS[task]) for task in self.plan.tasks},
                notes=self.notes,
            ),
            cells=[_row(cell) for cell in self.cells],
        )

    # ---- before anything runs

    def _check_paths(self, starts: list[Start]) -> None:
        args = self.args
        if not args.images and any(start.config for start in starts):
            raise UserError('--images is needed: methods are pre-trained on them.')
        if bool(args.coco_ann) != bool(args.coco_images):
            raise UserError('--coco-ann and --coco-images go together.')
        given = ('images', 'seg_data', 'coco_ann', 'coco_images', 'coco_val_ann', 'coco_val_images')
        for name in given:
            path = getattr(args, name)
            if path is None:
                continue
            path = Path(path).absolute()
            setattr(args, name, path)
            option = f'--{name.replace("_", "-")}'
            if not path.exists():
                raise MissingFile(f'{option} {path} does not exist.')
            if any('\ud800' <= letter <= '\udfff' for letter in str(path)):
                raise UserError(
                    f'{option}: the path {str(path)!r} is not UTF-8, and configs are: rename it, '
                    'or give a link to it.'
                )
            if path.is_dir() and (self.folder == path or path in self.folder.parents):
                raise UserError(
                    f'{option}: the work folder {self.folder} lies inside {path}, so its files '
                    'would be taken for data: choose another --work-dir.'
                )

    def _find_launcher(self) -> Launcher:
        args = self.args
        if args.slurm is None:
            return LocalLauncher(devices(args.gpus, args.jobs))
        pairs = [word.partition('=') for word in args.slurm]
        wrong = [key for key, equals, _ in pairs if not equals]
        if wrong:
            raise UserError(f'--slurm {wrong[0]}: key=value is needed.')
        parameters = {k: int(v) if v.isdigit() else v for k, _, v in pairs}
        return SlurmLauncher(self.folder / 'slurm', parameters)

    def _read_old(self) -> dict:
        """What the folder was made by; ``{}`` of a new one."""
        path = self.folder / SPECIFICATION
        if path.is_file():
            return json.loads(path.read_text(encoding='utf-8'))
        for name in ('cells', RESULTS, 'report.html'):
            if (self.folder / name).exists():
                raise UserError(
                    f'{self.folder / name} was not made by a study: move it away, or choose '
                    'another --work-dir.'
                )
        return {}

    def _make_plan(self, starts: list[Start]) -> Plan:
        args, labels = self.args, self.folder / 'labels'
        data, segmentation, detection = {}, None, None
        if args.images:
            data['images'] = fingerprint([args.images])
        if args.seg_data:
            data['segmentation'] = digest([fingerprint([args.seg_data]), args.seg_classes])
        if args.coco_ann:
            paths = [args.coco_ann, args.coco_images, args.coco_val_ann, args.coco_val_images]
            data['detection'] = fingerprint(path for path in paths if path)
        if args.seg_data:
            parts = labels / data['segmentation']
            segmentation = SegmentationLabels(args.seg_data, args.seg_classes, parts)
            self.notes += segmentation.notes
        if args.coco_ann:
            val = args.coco_val_ann, args.coco_val_images
            parts = labels / data['detection']
            detection = CocoLabels(args.coco_ann, args.coco_images, *val, parts)
            self.notes += detection.notes
        possible = [t for t in TASKS if (detection if t == 'detection' else segmentation)]
        tasks = args.tasks or possible
        if not possible:
            self.notes.append(
                'No labels (--seg-data, --coco-ann): the methods are pre-trained, not compared.'
            )
        for task in tasks:
            if task not in possible:
                needed = '--coco-ann' if task == 'detection' else '--seg-data'
                raise UserError(f'--tasks {task} needs {needed}.')
        if not tasks and not any(start.config for start in starts):
            raise UserError('neither labels nor a method: there is nothing to do.')
        workers = args.workers
        if workers is None:
            each = 8 if args.slurm is not None else cores() // self.launcher.places
            workers = min(8, max(1, each))
        images = str(args.images) if args.images else None
        same = self.old.get('data', {}).get('images') == data.get('images')
        count = self.old['images'] if self.old and same else 0
        return Plan(
            self.folder, BUDGETS['medium'], images, count, segmentation, detection, tasks, data,
            workers,
        )  # fmt: skip

    def _settle(self, starts: list[Start]) -> None:
        """Whether the folder is of this study: then both are joined."""
        args, old = self.args, self.old
        asked = dict(
            budget=args.budget, **{k: v for k in _OVERRIDES if (v := getattr(args, k)) is not None}
        )
        same_schedule = old.get('asked') == json.loads(json.dumps(asked))
        kept = {s['name']: Start(**s) for s in old.get('starts', [])}
        new = {start.name: start for start in starts}
        differing = [] if not old or same_schedule else [f'budget: {old["asked"]}, now {asked}']
        for name, value in old.get('data', {}).items():
            if self.plan.data.get(name) != value:
                what = 'other files than then' if name in self.plan.data else 'not given now'
                differing.append(f'data, {name}: {what}')
        for name in new.keys() & kept.keys():
            before, now = kept[name].settings(), new[name].settings()
            differing += [
                f'{name}, {key}: {before[key]}, now {now[key]}'
                for key in now
                if before[key] != now[key]
            ]
        if differing and not args.overwrite:
            raise UserError(
                f'{self.folder} holds another study:\n  '
                + '\n  '.join(differing)
                + '\nChoose another --work-dir, call a method with other settings a variant '
                '(METHOD:NAME), or say --overwrite to run the cells anew that this concerns.'
            )
        if differing:
            old, kept, same_schedule = {}, {}, False
        self.starts = list({**kept, **new}.values())
        self.seeds = max(args.seeds, old.get('seeds', 1))
        self.labels = sorted({*args.labels, *old.get('labels', [])}, reverse=True)
        tasks = {*self.plan.tasks, *old.get('tasks', [])}
        self.plan.tasks = [task for task in TASKS if task in tasks]
        self.asked = asked
        if same_schedule:
            fields = old['budget']
            self.plan.budget = Budget(**{**fields, 'scale': tuple(fields['scale'])})
        else:
            self.plan.budget = self._find_budget()

    def _find_budget(self) -> Budget:
        budget, hours = find_budget(self.args.budget)
        given = {field: getattr(self.args, name) for name, field in _OVERRIDES.items()}
        given = {field: value for field, value in given.items() if value is not None}
        for field, value in given.items():
            if min(value if field == 'scale' else [value]) < 1:
                raise UserError(f'{field} must be 1 or more, got {value}.')
        if 'scale' in given:
            given['scale'] = tuple(given['scale'])
        if hours is None:
            return dataclasses.replace(budget, **given)
        for name in ('medium', 'small'):
            budget = dataclasses.replace(BUDGETS[name], **given)
            factor = hours * 3600 / self._total(budget)
            if factor >= 0.25 or name == 'small':
                break
        budget = budget.scaled(self.args.budget, factor)
        self.notes.append(
            f'{self.args.budget}: {factor:.2g} times the length of {name}, {budget.pretrain_iters} '
            f'pre-training steps and {budget.finetune_iters} of fine-tuning.'
        )
        return dataclasses.replace(budget, **given)

    def _total(self, budget: Budget) -> float:
        """Seconds of the whole study."""
        self.plan.budget = budget
        cells = self.plan.cells(self.starts, range(self.seeds), self.labels)
        self._set_priors(cells)
        return remaining(cells, self.launcher.places, time.time())

    def _set_priors(self, cells: list[Cell]) -> None:
        import torch

        plan, args = self.plan, self.args
        on_gpu = torch.cuda.is_available() and args.gpus != 0 and args.slurm is None
        labels = [x for x in (plan.segmentation, plan.detection) if x]
        labelled = max((x.images(1) for x in labels), default=0)
        device, threads = 'cuda' if on_gpu else 'cpu', max(1, cores() // self.launcher.places)
        set_priors(cells, plan.budget, device, threads, plan.workers, labelled)

    def _check(self) -> None:
        """Look at all data and settings that cells to do need, before time is spent."""
        plan, to_do = self.plan, [cell for cell in self.cells if cell.state == 'to do']
        if to_do:
            self.say('looking at the data and settings ...')
        kinds = {(cell.about['start'], cell.about['kind']) for cell in to_do}
        for start in self.starts:
            if start.name in {name for name, _ in kinds}:
                check_weights(start, plan.budget)
        for start in self.starts:
            if (start.name, 'pretrain') not in kinds:
                continue
            words = plan.pretrain_words(start, 0)
            words[0] = str(REPOSITORY / words[0])
            parsed = train_parser().parse_args([*words, '--work-dir', str(self.folder)])
            try:
                cfg = build_config(parsed)
            except UserError as error:
                raise UserError(f'{start.name}: {error}') from error
            if plan.count == 0:
                init_default_scope('dense_ssl')
                plan.count = len(DATASETS.build(cfg.train_dataloader.dataset))
            if plan.count < plan.budget.batch_size:
                raise UserError(
                    f'--images has {plan.count} images, fewer than the {plan.budget.batch_size} of '
                    f'a pre-training step: give --batch-size {max(2, plan.count // 2)} or less.'
                )
        for task in ('segmentation', 'detection'):
            if task in {cell.about['task'] for cell in to_do}:
                words = plan.finetune_words(task, 1, 0, RANDOM)
                words[0] = str(REPOSITORY / words[0])
                check = ['--work-dir', str(self.folder / 'labels' / 'check')]
                build_config(finetune_parser().parse_args([*words, *check]))
        if to_do:
            self._set_priors(self.cells)

    # ---- what is written

    def _save(self) -> None:
        spec: dict[str, Any] = dict(
            asked=self.asked,
            budget=self.plan.schedule(),
            data=self.plan.data,
            images=self.plan.count,
            starts=[vars(start) for start in self.starts],
            seeds=self.seeds,
            labels=self.labels,
            tasks=self.plan.tasks,
        )
        write_atomically(self.folder / SPECIFICATION, json.dumps(spec, indent=1))

    def _write(self) -> None:
        write_atomically(self.folder / RESULTS, json.dumps(self.results(), indent=1))

    def _report(self) -> None:
        write_report(self.results(), self.folder)
        self.reported = time.time()


def _row(cell: Cell) -> dict:
    results = {**dict(metrics={}, images_seen=0, config=None, curve=[]), **cell.results}
    if results['config']:
        results['config'] = f'{cell.about["folder"]}/{results["config"]}'
    return dict(
        id=cell.id,
        **cell.about,
        state=cell.state,
        **results,
        seconds=round(cell.seconds, 1),
        error=cell.error,
    )


def _versions() -> dict[str, str]:
    found = dict(dense_ssl=__version__, python=platform.python_version())
    for name in _PACKAGES:
        for distribution in (f'onedl-{name}', name):
            try:
                found[name] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
            break
    return found
