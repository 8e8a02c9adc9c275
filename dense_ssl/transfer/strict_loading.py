"""Filling parts of a model from a checkpoint: every key, or nothing at all."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dense_ssl.errors import TransferError

from .diagnosis import likely_causes
from .keys import below, count_heads
from .loading_report import PartReport, TransferReport, format_mismatch

#: Parameters that a pre-trained backbone may have and no dense task uses.
IGNORABLE = ('fc.',)
_CYCLED = 'made for RGB, for {} bands by sum (1) or in turn, scaled (more)'


@dataclass(frozen=True)
class Part:
    """One part of the target model and where its weights lie in the file.

    Attributes:
        source_prefix: Prefix in the checkpoint, e.g. ``'backbone.'``; empty
            for a file of bare names.
        target_prefix: Prefix in the model's ``state_dict``.
        name: What messages call it.
    """

    source_prefix: str
    target_prefix: str
    name: str


@dataclass
class PartMatch:
    """How one part's keys meet."""

    part: Part
    total: int = 0
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: list[tuple[str, tuple, tuple]] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.missing or self.unexpected or self.wrong_shape or self.not_finite)


@dataclass
class Transfer:
    """A checked transfer; ``apply`` writes the weights into the model."""

    pairs: list[tuple[Tensor, Tensor]]
    report: TransferReport

    @torch.no_grad()
    def apply(self) -> TransferReport:
        for target, source in self.pairs:
            target.copy_(source)
        return self.report


def match_parts(
    target: nn.Module, state_dict: Mapping[str, Tensor], parts: Sequence[Part]
) -> Transfer:
    """Check that every part can be filled completely; write nothing.

    Every target key of a part must be in the checkpoint with the same shape.
    ``num_batches_tracked`` alone may be absent (files older than torch 0.4.1):
    it does not enter the result. A backbone's first convolution of RGB fills
    one of other bands, see :func:`other_bands`. Every checkpoint key under a part's prefix
    must be used by one of the parts, a classifier ``fc.*`` excepted.

    Args:
        target: The model to fill.
        state_dict: The checkpoint's weights.
        parts: What to fill.

    Raises:
        TransferError: With the missing, unexpected and wrongly shaped keys
            of all parts and the likely cause.
    """
    if not parts:
        raise TransferError('no part of the model was named to be filled.')
    target_state = target.state_dict()
    used = {
        part.source_prefix + key[len(part.target_prefix) :]
        for part in parts
        for key in target_state
        if key.startswith(part.target_prefix)
    }
    matches = [match_part(target_state, state_dict, part, used) for part in parts]
    failed = [match for match in matches if not match.ok]
    if failed:
        raise TransferError(
            '\n'.join(
                format_mismatch(
                    match,
                    likely_causes(
                        match.part.source_prefix,
                        match.part.target_prefix,
                        state_dict,
                        target_state,
                        match.missing,
                        match.unexpected,
                    ),
                )
                for match in failed
            )
            + '\nNothing was loaded.'
        )
    pairs = [pair for match in matches for pair in match.pairs]
    return Transfer(
        pairs,
        TransferReport(
            parts=[
                PartReport(
                    match.part.name,
                    match.part.source_prefix,
                    match.part.target_prefix,
                    len(match.pairs),
                    sum(t.numel() for t, _ in match.pairs),
                    match.notes,
                )
                for match in matches
            ],
            not_filled=_not_filled(target, parts),
            not_used=count_heads(key for key in state_dict if key not in used),
        ),
    )


def load_parts(
    target: nn.Module, state_dict: Mapping[str, Tensor], parts: Sequence[Part]
) -> TransferReport:
    """Fill ``parts`` of ``target``, or raise and leave it as it was.

    Raises:
        TransferError: See :func:`match_parts`.
    """
    return match_parts(target, state_dict, parts).apply()


def load_part(target: nn.Module, state_dict: Mapping[str, Tensor], part: Part) -> TransferReport:
    """:func:`load_parts` for one part."""
    return load_parts(target, state_dict, [part])


def match_part(
    target_state: Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
    part: Part,
    used: Container[str],
) -> PartMatch:
    """Compare one part's keys; checkpoint keys in ``used`` are expected.

    Raises:
        TransferError: The model has nothing under the part's prefix.
    """
    match = PartMatch(part)
    targets = below(target_state, part.target_prefix)
    if not targets:
        raise TransferError(
            f'{part.name}: the model has nothing under '
            f'"{part.target_prefix}*" to be filled; it has '
            f'{", ".join(count_heads(target_state))}.'
        )
    match.total = len(targets)
    for key, tensor in targets.items():
        source = state_dict.get(part.source_prefix + key)
        if source is None and key.endswith('num_batches_tracked'):
            match.notes.append(f'{key} is not in the file, left as it was')
        elif source is None:
            match.missing.append(key)
        elif _is_rgb_input(part.name, source, tensor):
            match.notes.append(f'{key}: {_CYCLED.format(tensor.shape[1])}')
            match.pairs.append((tensor, other_bands(source, tensor.shape[1])))
        elif source.shape != tensor.shape:
            match.wrong_shape.append((key, tuple(source.shape), tuple(tensor.shape)))
        elif source.is_floating_point() and not source.isfinite().all():
            match.not_finite.append(key)
        else:
            match.pairs.append((tensor, source))
    for key in state_dict:
        if key in used or not key.startswith(part.source_prefix):
            continue
        rest = key[len(part.source_prefix) :]
        if rest.startswith(IGNORABLE):
            match.notes.append(f'{rest} (a classifier) is not used')
        else:
            match.unexpected.append(rest)
    return match


def _is_rgb_input(name: str, source: Tensor, target: Tensor) -> bool:
    """Whether a backbone's first convolution is of RGB in the file, of other bands in the model."""
    return (
        name.endswith('backbone')
        and source.dim() == target.dim() == 4
        and source.shape[1] == 3 != target.shape[1]
        and source[:, 0].shape == target[:, 0].shape
    )


def other_bands(weight: Tensor, channels: int) -> Tensor:
    """A convolution of RGB (O, 3, h, w) as one of another number of bands.

    One band gets the sum of the three: a gray image then gives what its RGB form gave. More take
    the three in turn, scaled so that as much comes in as before.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(channels) % 3] * (3 / channels)


def _not_filled(target: nn.Module, parts: Sequence[Part]) -> dict[str, int]:
    """Number of parameters left at their initial values, by module."""
    prefixes = tuple(part.target_prefix for part in parts)
    counts: Counter = Counter()
    for key, parameter in target.named_parameters():
        if not key.startswith(prefixes):
            head = '.'.join(key.split('.')[: 2 if key.startswith('roi_head.') else 1])
            counts[head] += parameter.numel()
    return counts
