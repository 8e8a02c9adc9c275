"""One page on a pre-training run, from its work folder."""

import base64
import io
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Optional

import jinja2
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from rich.progress import track

from dense_ssl.errors import UserError
from dense_ssl.models.diagnostics import RANGES
from dense_ssl.transfer.checkpoint import read_file
from dense_ssl.version import __version__

from .curves import draw_curves, last_checkpoint, read_run
from .features import draw_pca
from .matches import draw_matches
from .networks import PretrainedNetwork, image_files, read_image, view_pair
from .style import style
from .views import draw_views

__all__ = ['write_report']

#: How a warning of DiagnosticsHook ends; it is told apart from the frameworks' by this.
MARK = '(see docs/diagnostics.md)'
SIZE = 320  # pixels of the pictures that networks see


def write_report(
    work_dir: Path, out: Path, images: Optional[Sequence[str]] = None, count: int = 3
) -> None:
    """Write a self-contained HTML page.

    Args:
        work_dir (Path): Of a pre-training run, with its config, log and checkpoints.
        out (Path): The page.
        images (Sequence[str], optional): Files or folders to draw; the run's data if not given.
        count (int): Images to draw.

    Raises:
        UserError: The folder holds no run.
    """
    configs = sorted(work_dir.glob('*.py'))
    if not configs:
        raise UserError(f'{work_dir} holds no config: give the work folder of a training run')
    cfg = Config.fromfile(str(max(configs, key=lambda path: path.stat().st_mtime)))
    last = last_checkpoint(work_dir)
    text = _log_text(work_dir)
    with style():
        figures = [(caption, _image(figure)) for caption, figure in _figures(cfg, work_dir, last)]
        pictures, missing = _pictures(cfg, work_dir, last, images, count)
    loader = jinja2.PackageLoader('dense_ssl.visualization', '.')
    page = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    html = page.get_template('report.html.jinja').render(
        title=work_dir.resolve().name,
        facts=_facts(cfg, last),
        warnings=_warnings(text),
        others=_other_warnings(text),
        figures=figures,
        pictures=pictures,
        missing=missing,
        environment=_environment(text),
        config=cfg.pretty_text,
        version=__version__,
    )
    out.write_text(html)


def _log_text(work_dir: Path) -> str:
    logs = sorted(work_dir.glob('*/*.log'))
    return '\n'.join(path.read_text(errors='replace') for path in logs)


def _warnings(text: str) -> list[str]:
    """What DiagnosticsHook said, without date and place."""
    found = re.findall(r'WARNING - (.*)', text)
    return [line.replace(MARK, '').strip() for line in found if MARK in line]


def _other_warnings(text: str, most: int = 40) -> list[str]:
    found = re.findall(r'WARNING - (.*)', text)
    kept = [line for line in found if MARK not in line and 'requires_grad=False' not in line]
    return [*dict.fromkeys(kept)][:most]


def _environment(text: str) -> str:
    """The system that the latest log names."""
    blocks = re.findall(r'System environment:\n(.*?)\n-{20}', text, re.S)
    return blocks[-1].strip() if blocks else ''


def _facts(cfg: Config, last: Path) -> list[tuple[str, str]]:
    content = read_file(last)
    meta, step = content.get('meta') or {}, (content.get('meta') or {}).get('step') or {}
    backbone, optimizer = cfg.model.backbone, cfg.optim_wrapper.optimizer
    root = cfg.train_dataloader.dataset.get('data_root', '?')
    per_step, processes = step.get('images', 0), step.get('processes', 1)
    losses = list(read_run(last).values.get('loss', ()))
    facts = [
        ('method', f'{cfg.model.type}, {backbone.type} {backbone.get("depth", "")}'),
        ('trained', f'{meta.get("iter", "?")} iterations, {meta.get("epoch", "?")} epochs'),
        ('data', f'{root}, {step.get("an_epoch", 0) * per_step * processes} images an epoch'),
        ('step', f'{per_step} images on each of {processes} processes'),
        ('optimiser', f'{optimizer.type}, learning rate {optimizer.lr:g}'),
        ('loss', f'{losses[0]:.4g} at first, {losses[-1]:.4g} at last' if losses else '?'),
        ('checkpoint', str(last)),
        ('seed', str(meta.get('seed', '?'))),
        ('versions', f'mmengine {meta.get("mmengine_version", "?")}; of this page: dense_ssl '
         f'{__version__}, torch {torch.__version__}, Python {platform.python_version()}'),
    ]  # fmt: skip
    return [(name, value.strip(' ,')) for name, value in facts]


def _figures(cfg: Config, work_dir: Path, last: Path) -> Iterator[tuple[str, Figure]]:
    run = read_run(last)
    shaded = ' Shaded: what healthy short runs had.' if run.method in RANGES else ''
    yield f'What was logged.{shaded}', draw_curves({work_dir.name: run}, ['all'])


def _pictures(cfg, work_dir: Path, last: Path, images, count: int) -> tuple[list, str]:
    """Captions and pictures, or why there are none."""
    where = images or [cfg.train_dataloader.dataset.get('data_root') or '']
    try:
        files = image_files(where, count)
    except (UserError, OSError) as error:
        return [], f'no pictures: {error}. Name others by --images.'
    first = min(
        [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')],
        key=lambda path: path.stat().st_mtime,
    )
    start = 'random' if first == last else first
    networks = [PretrainedNetwork(cfg, start, first.stem), PretrainedNetwork(cfg, last, last.stem)]
    figures: dict[str, Callable[[], Figure]] = {
        'Images, the views that networks get, and some of their positive pairs.': partial(
            draw_views, cfg, files
        ),
        'Mutual nearest cells of two views. Whole lines: on the right spot; dotted: not. '
        'Dashed frames: what both views show. PCK: share of its cells whose nearest is '
        'right.': lambda: draw_matches([view_pair(cfg, path, SIZE) for path in files], networks),
        'Features as colours: their first three principal components, shared by the '
        'images.': lambda: draw_pca([read_image(path, SIZE) for path in files], networks),
    }
    steps = track(figures.items(), 'drawing', transient=True, disable=not sys.stdout.isatty())
    return [(caption, _image(draw(), 'png')) for caption, draw in steps], ''


def _image(figure: Figure, kind: str = 'svg') -> str:
    """An address that holds the picture itself; as such no script in it runs."""
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=120 if kind == 'png' else None)
    code = base64.b64encode(out.getvalue()).decode()
    return f'data:image/{"svg+xml" if kind == "svg" else kind};base64,{code}'
