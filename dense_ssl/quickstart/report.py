"""Scores of the trainings, and the summary a user reads at the end."""

import json
from collections.abc import Sequence
from pathlib import Path

__all__ = ['final_run', 'read_scalars', 'last_score', 'final_scores', 'write_summary']


def final_run(work_dir: Path) -> tuple[Path, Path]:
    """Config and last checkpoint that a training left in its folder."""
    checkpoint = Path((work_dir / 'last_checkpoint').read_text().strip())
    return next(work_dir.glob('*.py')), checkpoint


def read_scalars(work_dir: Path) -> list[dict]:
    """All records mmengine wrote during the latest run in a work folder.

    Raises:
        FileNotFoundError: If there was no run.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'no scalars.json under {work_dir}')
    lines = files[-1].read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def last_score(records: list[dict], name: str) -> float:
    """The newest value of a score, by the end of its name.

    Raises:
        KeyError: If no record has it.
    """
    for record in reversed(records):
        for key, value in record.items():
            if key.split('/')[-1] == name:
                return round(float(value), 4)
    raise KeyError(f'{name} was never recorded')


def final_scores(records: list[dict], names: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """The newest value of each score, and notes on them for the user.

    A detector that finds nothing has no AP in mmdet's records, only the time
    of the validation; that is an AP of 0.

    Raises:
        KeyError: If a score is missing for another reason.
    """
    validated = any('time' in r and 'loss' not in r for r in records)
    scores, notes = {}, []
    for name in names:
        try:
            scores[name] = last_score(records, name)
        except KeyError:
            if not (validated and name.endswith('_mAP')):
                raise
            scores[name] = 0.0
            notes = [
                'the detector finds nothing yet on the validation '
                'images: its AP is 0. Train longer, or with more images'
            ]
    return scores, notes


_LABELS = {
    'checkpoint': 'pre-training checkpoint',
    'loss': 'pre-training loss, first and last',
    'bbox_mAP': 'detection, box AP',
    'segm_mAP': 'detection, mask AP',
    'mIoU': 'segmentation, mIoU (%)',
    'right_matches': 'correspondences on the right spot',
    'pictures': 'pictures',
    'logs': 'logs',
}


def write_summary(work_dir: Path, results: dict[str, dict], notes: list[str]) -> str:
    """Write ``summary.json`` and ``summary.md``.

    Args:
        work_dir (Path): Folder of the job.
        results (dict): Results of the stages by name, in order.
        notes (list[str]): Lines about the data.

    Returns:
        str: The summary as text.
    """
    facts = {'logs': str(work_dir / 'logs')}
    for result in results.values():
        facts.update({k: v for k, v in result.items() if k in _LABELS})
    seconds = {name: r['seconds'] for name, r in results.items()}
    reused = [name for name, r in results.items() if r['reused']]
    (work_dir / 'summary.json').write_text(
        json.dumps(dict(**facts, seconds=seconds, reused=reused, notes=notes), indent=1)
    )
    lines = ['# Quick start', '']
    lines += [f'- {note}' for note in notes] + ['']
    lines += [f'- {label}: {facts[key]}' for key, label in _LABELS.items() if key in facts]
    lines += ['', '| stage | seconds |', '|---|---|']
    lines += [
        f'| {name}{" (reused)" if name in reused else ""} | {value:.0f} |'
        for name, value in seconds.items()
    ]
    text = '\n'.join(lines) + '\n'
    (work_dir / 'summary.md').write_text(text)
    return text
