"""What to expect of the numbers in the log, and when to say that something is wrong."""

from math import isfinite
from statistics import median

__all__ = ['RANGES', 'Watch']

_ALL = dict(
    feature_std=(0.7, 0.9), momentum=(0.99, 1.0), no_overlap=(0.0, 0.15), data_wait=(0.0, 0.5)
)
_QUEUE = dict(
    image_std=(0.28, 1.0),
    image_positive=(0.1, 0.95),
    image_negative=(-0.1, 0.6),
    image_top1=(0.05, 1.0),
    queue_fill=(0.0, 1.0),
    queue_age=(1, 300),
    gradient_norm=(0.3, 4.0),
)
#: Healthy range of each number, by algorithm, after the first steps. Measured on short runs and
#: rounded outwards, see docs/diagnostics.md.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    'MoCo v2': dict(**_ALL, **_QUEUE, feature_rank=(90, 256), feature_between=(0.05, 0.5)),
    'DenseCL': dict(
        **_ALL,
        **_QUEUE,
        feature_rank=(90, 256),
        feature_between=(0.03, 0.5),
        cell_std=(0.5, 1.0),
        cell_rank=(12, 256),
        cell_positive=(0.3, 1.0),
        cell_negative=(-0.8, 0.3),
        cell_top1=(0.5, 1.0),
    ),
    'PixPro': dict(
        **_ALL,
        feature_rank=(60, 256),
        feature_between=(0.15, 0.6),
        cell_std=(0.25, 1.0),
        cell_rank=(12, 256),
        cell_between=(0.15, 0.7),
        cell_positive=(0.5, 0.95),
        gradient_norm=(0.05, 4.0),
    ),
    'PixContrast': dict(
        **_ALL,
        feature_rank=(90, 256),
        feature_between=(0.15, 0.6),
        cell_std=(0.7, 1.0),
        cell_rank=(60, 256),
        cell_between=(0.1, 0.6),
        cell_positive=(0.25, 0.8),
        cell_negative=(-0.1, 0.45),
        cell_top1=(0.25, 1.0),
        gradient_norm=(0.3, 4.0),
    ),
    'MCL': dict(**_ALL, feature_rank=(35, 256), feature_between=(0.15, 0.6)),
}
#: Features have collapsed where both spread and rank are below this part of their best so far.
#: At the start one of them may fall as low in a run that goes well.
COLLAPSED = 1 / 5
#: Or where the rank alone is. Those that a loss sees are flat sooner than those of the backbone.
FLAT = dict(feature=0.3, cell=1 / 20, image=1 / 20)
#: Gradients beyond so many times the median so far explode.
EXPLODED = 30
#: Oldest key of a queue, in times that the momentum network takes to be replaced.
STALE = 10
#: Below, the targets are hardly slower than what follows them.
FAST = 0.9
#: Share of the time spent waiting, twice running.
STARVED = 0.5
#: Share of images without a positive pair, share of cells without a partner.
APART = 0.5
#: Share of images whose views are the same.
SAME = 0.5


class Watch:
    """Tells once for each cause, in plain words, that a run goes wrong."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.best: dict[str, float] = {}
        self.norms: list[float] = []
        self.waited = 0

    def look(self, numbers: dict[str, float]) -> list[str]:
        """What is wrong and was not told before.

        Args:
            numbers: Of one step, by the names that they have in the log; also ``same_views``, the
                share of images whose views are the same.
        """
        found = dict(self._causes(numbers))
        new = [text for cause, text in found.items() if cause not in self.told]
        self.told.update(found)
        return new

    def _causes(self, numbers: dict[str, float]):
        yield from self._exploding(numbers)
        yield from self._collapse({k: v for k, v in numbers.items() if isfinite(v)})
        yield from self._queue(numbers)
        yield from self._positives(numbers)
        if numbers.get('momentum', 1) < FAST:
            yield (
                'fast momentum',
                f'model.momentum is {numbers["momentum"]:g}: the momentum network is all but the '
                'online one, and its targets move as fast. Recipes have 0.99 to 1',
            )
        self.waited = self.waited + 1 if numbers.get('data_wait', 0) > STARVED else 0
        if self.waited > 1:
            yield (
                'starving',
                f'training waits for data {numbers["data_wait"]:.0%} of the time: use more '
                '--workers, --color device, or pack the images (tools/convert/pack_images.py)',
            )

    def _exploding(self, numbers):
        norm = numbers.get('gradient_norm')
        if norm is None:
            return
        usual = median(self.norms) if len(self.norms) > 1 else norm
        self.norms.append(norm)
        if not norm <= EXPLODED * usual:
            yield (
                'exploding',
                f'gradients explode: their norm is {norm:.3g}, before it was about {usual:.3g}. '
                'Lower optim_wrapper.optimizer.lr, warm up for longer, or set '
                'optim_wrapper.clip_grad',
            )

    def _collapse(self, numbers):
        share = {}
        for name, value in numbers.items():
            if name.endswith(('_std', '_rank')):
                self.best[name] = max(value, self.best.get(name, value))
                share[name] = value / max(self.best[name], 1e-12)
        for kind, flat in FLAT.items():
            std, rank = share.get(f'{kind}_std', 1), share.get(f'{kind}_rank', 1)
            if max(std, rank) < COLLAPSED or rank < flat:
                now = [
                    f'{name} is {numbers[name]:.3g}, it was {self.best[name]:.3g} already'
                    for name in (f'{kind}_std', f'{kind}_rank')
                ]
                yield (
                    'collapse',
                    f'features collapse: {", ".join(now)}. Stop the run; lower '
                    'optim_wrapper.optimizer.lr, and see that predictor, propagation and '
                    'momentum are as in the recipe',
                )

    def _queue(self, numbers):
        if numbers.get('queue_share', 0) > 1:
            yield (
                'queue longer than the data',
                f'the queue holds {numbers["queue_share"]:.1f} times as many keys as there are '
                'images: every image is a negative of its own. Set model.queue_len to fewer',
            )
        replaced = numbers.get('queue_age', 0) * (1 - numbers.get('momentum', 1))
        if replaced > STALE:
            yield (
                'stale queue',
                f'the oldest keys of the queue come from a momentum network that has been replaced '
                f'{replaced:.0f} times over: they resemble no new key. Raise model.momentum '
                f'({numbers["momentum"]:g} now), or shorten model.queue_len',
            )

    def _positives(self, numbers):
        if numbers.get('same_views', 0) > SAME:
            yield (
                'same views',
                f'{numbers["same_views"]:.0%} of the images give the same view twice: what there '
                'is to learn is how views differ. Put RandomResizedCropWithBox, RandomColor and '
                'RandomFlipWithBox into the pipeline of GeometricMultiView',
            )
        apart = numbers.get('no_overlap', 1 - numbers.get('matched', 1))
        if apart > APART or numbers.get('positive_pairs', 1) < 1:
            yield (
                'no positives',
                f'{apart:.0%} are left without a positive, there are '
                f'{numbers.get("positive_pairs", 0):.1f} positive pairs an image: the views hardly '
                'overlap. Raise crop_ratio_range of RandomResizedCropWithBox, or '
                'correspondence.radius',
            )
