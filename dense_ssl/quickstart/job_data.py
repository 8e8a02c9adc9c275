"""What the job trains on: the procedural scenes, or the user's images."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dense_ssl.scenes import thing_names, write_scenes

from .class_names import semantic_names
from .user_data import (
    MAX_CLASSES,
    MAX_SIDE,
    InputError,
    check_images,
    read_coco,
    split_coco,
    subset,
    write_annotations,
    write_label_maps,
)

__all__ = ['JobData', 'scenes_data', 'user_data', 'LEAST_IMAGES']

LEAST_IMAGES = 8


@dataclass
class JobData:
    """Data of all three trainings; every path is absolute.

    Attributes:
        unlabelled: Folder of the pre-training images.
        num_unlabelled: Images used from it.
        unlabelled_list: File that lists them, '' for all.
        classes: Names of the object classes.
        annotations: COCO file of each split.
        images: Folder of each split's images.
        has_masks: Whether all objects have masks; if not, detection is
            trained on boxes alone and there is no segmentation.
        semantic: Folder with label maps as mmseg reads them, '' if there
            are none.
        semantic_classes: Their classes, empty for Cityscapes' own 19.
        notes: What was done to the data, for the user.
    """

    unlabelled: str
    num_unlabelled: int
    classes: tuple[str, ...]
    annotations: dict[str, str]
    images: dict[str, str]
    has_masks: bool = True
    semantic: str = ''
    semantic_classes: tuple[str, ...] = ()
    unlabelled_list: str = ''
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> dict:
        """Plain data that :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> 'JobData':
        """Back from :meth:`to_json`, also through a file."""
        data = dict(data)
        for name in ('classes', 'semantic_classes', 'notes'):
            data[name] = tuple(data[name])
        return cls(**data)


def scenes_data(
    folder: Path, num_unlabelled: int, num_train: int, num_val: int, size: int, workers: int
) -> JobData:
    """Write the procedural scenes and describe them."""
    root = write_scenes(
        Path(folder).resolve() / 'scenes',
        num_unlabelled,
        num_train,
        num_val,
        size=size,
        workers=workers,
    )
    splits = ('train', 'val')
    return JobData(
        unlabelled=str(root / 'unlabelled'),
        num_unlabelled=num_unlabelled,
        classes=thing_names(),
        annotations={s: str(root / f'annotations/instances_{s}.json') for s in splits},
        images={s: str(root / 'images' / s) for s in splits},
        semantic=str(root / 'cityscapes'),
        notes=(
            f'procedural scenes: {num_unlabelled} images without labels, '
            f'{num_train} + {num_val} with',
        ),
    )


def user_data(
    folder: Path,
    images: Path,
    coco: Path,
    coco_images: Path,
    most_unlabelled: int,
    most_train: int,
    most_val: int,
) -> JobData:
    """Check the user's data and write what the trainings need.

    One fifth of the annotated images, always the same, is kept for
    validation. Large data are cut to a part that fits the time of a quick
    start. Label maps for segmentation are derived from the instance masks.

    Raises:
        InputError: If the data cannot be used.
    """
    folder, coco_images = Path(folder).resolve(), Path(coco_images).resolve()
    unlabelled = Path(images).resolve()
    paths = check_images(unlabelled, LEAST_IMAGES)
    annotated = read_coco(coco, coco_images)
    train, val = split_coco(annotated)
    notes = [f'{len(paths)} images without labels, {len(train)} + {len(val)} with']

    chosen = subset(paths, most_unlabelled)
    list_file = ''
    if len(chosen) < len(paths):
        notes.append(
            f'pre-training uses {len(chosen)} images, drawn at random from the {len(paths)}'
        )
        list_file = folder / 'unlabelled.txt'
        broken = [p for p in chosen if len(p.splitlines()) > 1]
        if broken:
            raise InputError(
                f'--images: the name {broken[0]!r} has a line break in it: rename the file'
            )
        list_file.write_bytes(os.fsencode('\n'.join(chosen) + '\n'))
    short = subset(train, most_train), subset(val, most_val)
    if (len(short[0]), len(short[1])) != (len(train), len(val)):
        train, val = short
        notes.append(
            f'fine-tuning uses {len(train)} + {len(val)} of the annotated images, drawn at random'
        )

    masks, objects = annotated.count_masks()
    has_masks = masks == objects
    classes = annotated.class_names
    if not has_masks:
        notes.append(
            f'{objects - masks} of {objects} objects have no mask: detection '
            'is trained on boxes alone (no mask AP), segmentation is left out'
        )
    semantic = has_masks and len(classes) <= MAX_CLASSES
    if has_masks and not semantic:
        notes.append(
            f'{len(classes)} classes do not fit 8-bit label maps '
            f'({MAX_CLASSES} do): segmentation is left out'
        )
    for split, part in (('train', train), ('val', val)):
        write_annotations(folder, split, annotated, part, has_masks)
        if semantic:
            write_label_maps(folder / 'semantic', split, annotated, part, coco_images)

    data = JobData(
        unlabelled=str(unlabelled),
        num_unlabelled=len(chosen),
        unlabelled_list=str(list_file),
        classes=classes,
        annotations={s: str(folder / f'annotations/instances_{s}.json') for s in ('train', 'val')},
        images={s: str(coco_images) for s in ('train', 'val')},
        has_masks=has_masks,
    )
    if semantic:
        notes.append(
            'label maps for segmentation are made from the instance '
            'masks: background, then the classes; smaller objects '
            'on top, crowds ignored; images of at most '
            f'{MAX_SIDE} px'
        )
        data.semantic_classes = semantic_names(classes)
        data.semantic = str(folder / 'semantic')
    data.notes = tuple(notes)
    return data
