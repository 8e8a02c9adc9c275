"""The results of a suite as Markdown, CSV and JSON."""

import json
import os
import os.path as osp
from typing import Optional

from dense_ssl.files import write_atomically
from dense_ssl.tables import as_csv, as_markdown

from .suite import Benchmark


def read_metrics(folder: str) -> Optional[dict]:
    """A finished run's ``metrics.json``; ``None`` before it is finished."""
    path = osp.join(folder, 'metrics.json')
    if not osp.isfile(path):
        return None
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except ValueError:
        return None


def result(benchmark: Benchmark, folder: str, state: str) -> dict:
    """One run's figures in percent, by column, and its state."""
    found = (read_metrics(folder) or {}).get('metrics', {})
    figures = {}
    for column, key in benchmark.figures.items():
        # COCO data in a VOC recipe are measured by COCO's rule.
        value = found.get(key, found.get('coco/bbox_mAP') if column in ('AP', 'box AP') else None)
        if value is not None:
            percent = key.startswith(('coco/', 'cityscapes/')) or key not in found
            figures[column] = round(100 * value if percent else value, 2)
    return dict(
        benchmark=benchmark.name,
        config=benchmark.config,
        state=state,
        figures=figures,
        papers={
            method: dict(zip(benchmark.figures, values))
            for method, values in benchmark.papers.items()
        },
    )


def write_tables(results: list[dict], folder: str, title: str) -> None:
    """``suite.md``, ``suite.csv`` and ``suite.json`` in ``folder``."""
    os.makedirs(folder, exist_ok=True)
    texts = {
        'md': markdown(results, title),
        'csv': csv(results),
        'json': json.dumps(dict(title=title, results=results), indent=2),
    }
    for ending, text in texts.items():
        write_atomically(osp.join(folder, f'suite.{ending}'), text)


def markdown(results: list[dict], title: str) -> str:
    """A table with the papers' figures beside."""
    rows = [
        [
            row['benchmark'],
            column,
            _cell(row['state'], row['figures'].get(column)),
            ', '.join(
                f'{method} {values[column]}'
                for method, values in row['papers'].items()
                if column in values
            ),
        ]
        for row in results
        for column in _columns(row)
    ]
    return f'# {title}\n\n{as_markdown(["benchmark", "figure", "here", "papers"], rows)}'


def csv(results: list[dict]) -> str:
    """A line for each figure, ours and the papers'."""
    return as_csv(
        ['benchmark', 'config', 'state', 'figure', 'source', 'value'],
        (
            [row['benchmark'], row['config'], row['state'], column, source, value]
            for row in results
            for source, values in {'here': row['figures'], **row['papers']}.items()
            for column, value in values.items()
        ),
    )


def _cell(state: str, figure: Optional[float]) -> str:
    if figure is not None:
        return str(figure)
    return '-' if state == 'done' else state


def _columns(row: dict) -> list[str]:
    columns = list(row['figures'])
    for values in row['papers'].values():
        columns += [name for name in values if name not in columns]
    return columns or ['-']
