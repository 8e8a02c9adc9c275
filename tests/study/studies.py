"""Tiny studies of the procedural scenes, and cells that only leave their files."""

import json
from pathlib import Path

from dense_ssl.study import Study, compare_parser

#: A network and a schedule as small as can be.
TINY = (
    *('--budget', 'tiny', '--base-channels', '8', '--view-size', '32', '--batch-size', '4'),
    *('--iters', '12', '--finetune-iters', '12', '--finetune-batch', '2', '--scale', '64', '64'),
    *('--workers', '0', '--gpus', '0'),
)


def words(scenes: Path, work_dir: Path, *more) -> list:
    """Of a study by segmentation."""
    data = ('--images', scenes / 'unlabelled', '--seg-data', scenes / 'cityscapes')
    return [str(word) for word in (*data, *TINY, '--work-dir', work_dir, *more)]


def coco(scenes: Path) -> list:
    return [
        *('--coco-ann', scenes / 'annotations' / 'instances_train.json'),
        *('--coco-images', scenes / 'images' / 'train'),
    ]


def study(*arguments, **options) -> Study:
    parsed = compare_parser().parse_args([str(word) for word in arguments])
    return Study(parsed, say=lambda line: None, **options)


class Pretended:
    """Leaves in each cell what its tool leaves, at once. Cells named in ``failing`` fail."""

    places = 2

    def __init__(self, failing=()):
        self.ran, self.failing = [], failing

    def start(self, cell):
        self.ran.append(cell.id)
        cell.log.write_text('the reason\n')
        words, folder = cell.command, cell.folder
        score = 10.0 + cell.about['seed'] + (cell.about['start'] != 'random')
        if cell.about['kind'] == 'probe':
            found = dict(probe_mIoU=score, knn_mIoU=score / 2, classes={})
            (folder / 'probe.json').write_text(json.dumps(found))
        else:
            (folder / f'iter_{words[words.index("--iters") + 1]}.pth').touch()
            (folder / 'config.py').touch()
            metrics = {'mIoU': score, 'coco/bbox_mAP': score / 100, 'coco/bbox_mAP_50': 0.2}
            (folder / 'metrics.json').write_text(json.dumps(dict(metrics=metrics)))
            for attempt, steps in (('1', (1, 2, 3)), ('2', (3, 4))):  # resumed after step 2
                path = folder / attempt / 'vis_data' / 'scalars.json'
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = [json.dumps(dict(step=s, loss=s + int(attempt), time=1)) for s in steps]
                path.write_text('\n'.join(lines) + ('\n{"step": 3, "lo' if attempt == '1' else ''))
        return _Ended(int(cell.id in self.failing))

    def attach(self, cell):
        return None


class _Ended:
    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code

    def stop(self):
        pass
