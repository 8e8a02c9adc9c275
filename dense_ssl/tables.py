"""Tables as Markdown and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

__all__ = ['as_csv', 'as_markdown']


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table; what would break out of a cell is escaped, ``None`` is an empty cell."""
    lines = [columns, ['---'] * len(columns), *rows]
    return ''.join(f'| {" | ".join(map(markdown_text, line))} |\n' for line in lines)


def markdown_text(value: object) -> str:
    """A value on one line, without HTML and without ends of table cells."""
    text = '' if value is None else ' '.join(str(value).split())
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('|', '\\|')


def as_csv(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return out.getvalue()
