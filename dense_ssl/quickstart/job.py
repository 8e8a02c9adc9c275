"""The main job, stage by stage."""

import json
import os
from pathlib import Path
from typing import Callable

import torch

from .job_data import JobData
from .recipe import (
    DETECTION_CONFIG,
    PRETRAIN_CONFIG,
    SEGMENTATION_CONFIG,
    Budget,
    detection_options,
    pretrain_options,
    segmentation_options,
)
from .report import final_run, final_scores, read_scalars, write_summary
from .stages import Stage, fingerprint, python, run_command

__all__ = ['Job']


class Job:
    """Data, pre-training, detection, segmentation, pictures, summary.

    Args:
        work_dir (Path): Folder of the job; a second run with equal inputs
            reuses what is finished there.
        repository (Path): Folder with ``tools`` and ``configs``.
        budget (Budget): How long to train.
        fresh (bool): Reuse nothing.
        say (callable): Takes lines for the user.
    """

    def __init__(
        self,
        work_dir: Path,
        repository: Path,
        budget: Budget,
        fresh: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.work_dir = Path(work_dir).resolve()
        self.repository = repository
        self.budget = budget
        self.fresh = fresh
        self.say = say
        self.results: dict[str, dict] = {}
        self.code = fingerprint([repository / 'dense_ssl', repository / 'configs'])

    def stage(self, name: str, inputs: dict, work) -> dict:
        """Run a stage, or take over its results; see :class:`Stage`."""
        stage = Stage(name, self.work_dir, dict(inputs, code=self.code), self.say)
        self.results[name] = stage.run(work, self.fresh)
        return self.results[name]

    def command(self, name: str, words: list) -> None:
        """Run one of the repository's tools as its own process."""
        env = dict(
            PYTHON=python(),
            PYTHONPATH=os.pathsep.join(
                filter(None, [str(self.repository), os.environ.get('PYTHONPATH')])
            ),
        )
        if not torch.cuda.is_available():
            # Threads that wait must not spin: on a machine with other work
            # spinning makes each step several times slower.
            env.update(OMP_NUM_THREADS=str(os.cpu_count() or 1), OMP_WAIT_POLICY='PASSIVE')
            # glibc must keep large buffers: a step that gives them back and
            # asks again spends much of its time in page faults.
            env.update(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='100000000000')
        run_command(
            name,
            [str(w) for w in words],
            self.work_dir / 'logs' / f'{name}.log',
            env,
            self.repository,
            self.say,
        )

    def run(self, inputs: dict, make_data: Callable[[Path], JobData]) -> str:
        """Everything; the summary.

        Args:
            inputs (dict): What the data depend on.
            make_data (callable): Writes the data to the folder it is given.
        """

        def data_stage(folder):
            return dict(data=make_data(folder).to_json())

        data = self.stage('data', inputs, data_stage)
        data = JobData.from_json(data['data'])
        for note in data.notes:
            self.say(f'[data] {note}')
        checkpoint = self.pretrain(data, inputs)
        self.detect(data, inputs, checkpoint)
        if data.semantic:
            self.segment(data, inputs, checkpoint)
        else:
            self.say('[segmentation] left out: there are no label maps')
        self.pictures()
        notes = list(data.notes)
        for result in self.results.values():
            notes += result.get('notes', [])
        return write_summary(self.work_dir, self.results, notes)

    def pretrain(self, data: JobData, inputs: dict) -> str:
        """DenseCL on the unlabelled images; path of its checkpoint."""
        options = pretrain_options(data, self.budget)

        def work(folder):
            self.command(
                'pretraining',
                [python(), 'tools/train.py', PRETRAIN_CONFIG, '--work-dir', folder, *options],
            )
            checkpoint = str(final_run(folder)[1])
            losses = [r['loss'] for r in read_scalars(folder) if 'loss' in r]
            return dict(
                checkpoint=checkpoint, loss=f'{losses[0]:.2f}, {losses[-1]:.2f}', files=[checkpoint]
            )

        return self.stage('pretraining', dict(inputs, options=options), work)['checkpoint']

    def _fine_tune(self, name, tool, config, options, inputs, checkpoint, scores):

        def work(folder):
            self.command(
                name,
                [
                    'bash',
                    f'tools/benchmarks/{tool}/dist_train.sh',
                    config,
                    checkpoint,
                    1,
                    '--work-dir',
                    folder,
                    *options,
                ],
            )
            trained = str(final_run(folder)[1])
            results, notes = final_scores(read_scalars(folder), scores)
            return dict(trained=trained, files=[trained], notes=notes, **results)

        depends = dict(inputs, options=options, upstream=self.upstream('pretraining'))
        return self.stage(name, depends, work)

    def upstream(self, *names: str) -> str:
        """Digest of the checkpoints that stages left behind."""
        return fingerprint(
            [Path(f) for n in names if n in self.results for f in self.results[n]['files']]
        )

    def detect(self, data, inputs, checkpoint) -> None:
        """Mask R-CNN from the checkpoint (boxes alone without masks)."""
        scores = ['bbox_mAP'] + ['segm_mAP'] * data.has_masks
        self._fine_tune(
            'detection',
            'mmdetection',
            DETECTION_CONFIG,
            detection_options(data, self.budget),
            inputs,
            checkpoint,
            scores,
        )

    def segment(self, data, inputs, checkpoint) -> None:
        """FCN from the checkpoint."""
        self._fine_tune(
            'segmentation',
            'mmsegmentation',
            SEGMENTATION_CONFIG,
            segmentation_options(data, self.budget),
            inputs,
            checkpoint,
            ['mIoU'],
        )

    def pictures(self) -> None:
        """Draw what the three networks see on validation images."""
        names = ('pretraining', 'detection', 'segmentation')
        inputs = dict(upstream=self.upstream(*names))

        def work(folder):
            self.command(
                'pictures',
                [
                    python(),
                    '-m',
                    'dense_ssl.quickstart.pictures',
                    self.work_dir,
                    folder,
                    *(n for n in names if n in self.results),
                ],
            )
            right = json.loads((folder / 'matches.json').read_text())
            return dict(
                pictures=str(folder),
                right_matches=right,
                files=[str(p) for p in sorted(folder.glob('[!.]*'))],
            )

        self.stage('pictures', inputs, work)
