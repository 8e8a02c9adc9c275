"""Words for a transfer: what was filled, and why it could not be."""

from dataclasses import dataclass, field

from .keys import listed

_SHOWN = 8


@dataclass
class PartReport:
    """One filled part: tensors and their elements."""

    name: str
    source_prefix: str
    target_prefix: str
    tensors: int
    elements: int
    notes: list[str] = field(default_factory=list)


@dataclass
class TransferReport:
    """What a transfer filled.

    Attributes:
        parts: The filled parts.
        not_filled: Parameters left at their initial values, by module.
        not_used: Checkpoint keys not used, counted by their first name.
    """

    parts: list[PartReport]
    not_filled: dict[str, int] = field(default_factory=dict)
    not_used: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [('part', 'in the file', 'in the model', 'tensors', 'numbers')]
        rows += [
            (
                part.name,
                f'{part.source_prefix}*',
                f'{part.target_prefix}*',
                str(part.tensors),
                f'{part.elements:,}',
            )
            for part in self.parts
        ]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            '  '.join(
                cell.rjust(width) if i > 2 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            )
            for row in rows
        ]
        if self.not_filled:
            lines.append(f'left at initial values: {listed(self.not_filled)}')
        if self.not_used:
            lines.append(f'in the file, not used: {listed(self.not_used)}')
        for part in self.parts:
            lines += [f'note, {part.name}: {note}' for note in _shorten(part.notes)]
        return '\n'.join(lines)


def format_mismatch(match, causes: list[str]) -> str:
    """The diff of one part that cannot be filled, as lines of text."""
    part = match.part
    lines = [
        f'{part.name}: "{part.source_prefix}*" of the checkpoint does not fit '
        f'"{part.target_prefix}*" of the model '
        f'({len(match.pairs)} of {match.total} keys match).'
    ]
    return '\n'.join(lines + mismatch_details(match, causes))


def mismatch_details(match, causes: list[str]) -> list[str]:
    """Likely causes and the keys that do not fit, as lines of text."""
    lines = [f'  likely cause: {cause}' for cause in causes]
    shapes = [
        f'{key}: {source} in the file, {target} in the model'
        for key, source, target in match.wrong_shape
    ]
    for title, keys in (
        ('missing in the file', match.missing),
        ('unexpected in the file', match.unexpected),
        ('wrong shape', shapes),
        ('not finite (NaN or Inf): the pre-training diverged', match.not_finite),
    ):
        if keys:
            lines.append(f'  {title} ({len(keys)}):')
            lines += [f'    {key}' for key in _shorten(keys)]
    return lines


def show_every_key() -> None:
    """Leave no line out of the lists from now on."""
    global _SHOWN
    _SHOWN = 10**9


def _shorten(lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN:
        return list(lines)
    return lines[:_SHOWN] + [f'... and {len(lines) - _SHOWN} more']
