"""Results as the engine hands them over, drawn at random."""

import math
import random

GAINS = {'random': 0, 'mocov2': 2, 'densecl': 6, 'pixpro': 4}
TASKS = {
    'probe': {'metric': 'probe_mIoU'},
    'segmentation': {'metric': 'mIoU'},
    'detection': {'metric': 'box_AP'},
}


def make_results(
    methods=tuple(GAINS), seeds=(0, 1, 2), labels=(1.0, 0.25), tasks=tuple(TASKS), states=('done',)
) -> dict:
    """A study whose cells take turns in ``states``."""
    rng = random.Random(0)
    cells: list[dict] = []

    def add(name, kind, start, seed, task, share, metrics, curve):
        state = states[len(cells) % len(states)]
        done = state == 'done'
        cells.append(
            dict(
                id=f'{start}-seed{seed}{name}',
                kind=kind,
                start=start,
                seed=seed,
                task=task,
                labels=share,
                state=state,
                metrics=metrics if done else {},
                seconds=90.0 if done else None,
                images_seen=1280,
                folder=f'cells/{start}-seed{seed}{name}',
                config=f'cells/{start}-seed{seed}{name}/config.py',
                curve=curve if done else [],
                error=f'Traceback\n{start} broke at the end' if state == 'failed' else None,
            )
        )

    for start in methods:
        for seed in seeds:
            if start != 'random' and not start.endswith('.pth'):
                curve = [{'step': k, 'loss': 9 / k} for k in range(1, 150)]
                add('', 'pretrain', start, seed, None, None, {}, curve)
            for task in tasks:
                for share in [None] if task == 'probe' else labels:
                    gain = GAINS.get(start, 1) + seed + rng.gauss(0, 0.3)
                    score = 20 + 4 * math.log(share or 1) + gain
                    kind = 'probe' if task == 'probe' else 'finetune'
                    more = {'probe': 'knn_mIoU', 'segmentation': 'aAcc', 'detection': 'mask_AP'}
                    metrics = {TASKS[task]['metric']: score, more[task]: score - 5}
                    curve = [{'step': 10 * k, 'loss': 3 / k, 'mIoU': 5 * k} for k in range(1, 6)]
                    name = f'/{task}' + (f'-{share}' if share else '')
                    add(name, kind, start, seed, task, share, metrics, curve * (task != 'probe'))
    return {
        'study': {
            'command': 'python tools/study.py --images my/images',
            'versions': {'torch': '2.11.0', 'dense_ssl': '1.0'},
            'images': 500,
            'methods': list(methods),
            'seeds': list(seeds),
            'labels': list(labels),
            'budget': {'name': 'small', 'pretrain_iters': 150, 'view_size': 64},
            'tasks': {task: TASKS[task] for task in tasks},
            'notes': ['The images were drawn.'],
        },
        'cells': cells,
    }
