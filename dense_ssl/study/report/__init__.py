"""One report of a study: a page to read, Markdown, and a CSV of the scores."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from jinja2 import Environment, PackageLoader, StrictUndefined

from dense_ssl.files import write_atomically
from dense_ssl.tables import as_csv, as_markdown, markdown_text

from .. import statistics
from . import contents, figures, words

__all__ = ['write_report']

PNG = b'\x89PNG\r\n\x1a\n'


@dataclass(frozen=True)
class Picture:
    path: Path

    @property
    def caption(self) -> str:
        return re.sub(r'[-_]+', ' ', self.path.stem)

    @property
    def base64(self) -> str:
        return base64.b64encode(self.path.read_bytes()).decode()


def write_report(results: Mapping, folder: Union[str, Path]) -> None:
    """Write ``report.html``, ``report.md`` and ``results.csv``, of an unfinished study too.

    Args:
        results: What the study's ``results.json`` holds.
        folder: The study's folder. PNG files in its ``pictures`` are shown.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = collect(results, folder)
    write_atomically(folder / 'report.html', as_html(page))
    write_atomically(folder / 'report.md', as_text(page))
    write_atomically(
        folder / 'results.csv', as_csv(contents.SCORE_COLUMNS, contents.score_rows(results))
    )


def collect(results: Mapping, folder: Path) -> dict:
    """Everything that the page and the text show."""
    study = results['study']
    names = words.start_names(statistics.starts(results))
    settings = statistics.compare(results)
    main = contents.main_setting(settings)
    return dict(
        title='Study of ' + (words.listed(names.values()) or 'nothing yet'),
        headline=contents.sentence(main, names) if main else contents.no_scores(results),
        status=contents.status(results),
        sentences=[contents.sentence(s, names) for s in settings if s is not main],
        scores=contents.score_table(settings, names),
        how_to_read=contents.how_to_read(settings),
        figures=figures.draw(figures.all_figures(results, settings, names)),
        others=contents.other_scores(results, names),
        costs=contents.cost_table(results, names),
        faults=contents.faults(results),
        waiting=contents.waiting(results),
        pictures=[
            Picture(path)
            for path in sorted(folder.glob('pictures/*.png'))
            if path.read_bytes().startswith(PNG)
        ],
        command=study.get('command'),
        notes=study.get('notes') or [],
        facts=contents.facts(results),
        configs=[(c['id'], c['config']) for c in results['cells'] if c.get('config')],
    )


def as_html(page: Mapping) -> str:
    environment = Environment(
        loader=PackageLoader('dense_ssl.study', 'report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template('report.html.jinja').render(page)


def as_text(page: Mapping) -> str:
    """The page without its figures."""
    blocks = [f'# {markdown_text(page["headline"])}', markdown_text(page['status'])]
    blocks += [_bullets(page['sentences'])]
    for heading, key in [('Scores', 'scores'), ('Other scores', 'others'), ('Cost', 'costs')]:
        if page[key]:
            blocks += [f'## {heading}', as_markdown(page[key].columns, page[key].rows)]
        if key == 'scores':
            blocks += [markdown_text(line) for line in page['how_to_read']]
    if page['faults'] or page['waiting']:
        blocks += ['## Missing']
        for heading, error in page['faults']:
            blocks += [markdown_text(heading), _indented(error)]
        blocks += [_bullets(page['waiting'])]
    if page['pictures']:
        blocks += ['## Pictures']
        blocks += [f'![{p.caption}](<pictures/{p.path.name}>)' for p in page['pictures']]
    blocks += ['## How it was made', _indented(page['command'] or ''), _bullets(page['notes'])]
    blocks += [as_markdown(page['facts'].columns, page['facts'].rows)]
    return '\n\n'.join(block.strip('\n') for block in blocks if block.strip()) + '\n'


def _bullets(lines) -> str:
    return '\n'.join(f'- {markdown_text(line)}' for line in lines)


def _indented(text: str) -> str:
    return ''.join(f'    {line}\n' for line in text.splitlines())
