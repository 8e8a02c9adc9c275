"""The views as the released code makes them: torchvision on Pillow images.

One chain of transforms for each view, on the CPU, to normalised floating
point (MCL's ends with uint8).
"""

import random

import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as T

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Blur:
    """Gaussian blur with a drawn standard deviation."""

    def __call__(self, image):
        sigma = random.uniform(0.1, 2.0)
        return image.filter(ImageFilter.GaussianBlur(radius=sigma))


def _solarise(image):
    return ImageOps.solarize(image)


def _tensor(normalise: bool) -> list:
    if normalise:
        return [T.ToTensor(), T.Normalize(MEAN, STD)]
    return [T.PILToTensor()]


def mocov2(size: int) -> list:
    view = T.Compose(
        [
            T.RandomResizedCrop(size, scale=(0.2, 1.0)),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([Blur()], p=0.5),
            T.RandomHorizontalFlip(),
            *_tensor(True),
        ]
    )
    return [view, view]


def byol(size: int, scale=(0.08, 1.0), each: int = 1, normalise=True) -> list:

    def view(blur, solarise):
        return T.Compose(
            [
                T.RandomResizedCrop(size, scale=scale),
                T.RandomHorizontalFlip(),
                T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
                T.RandomGrayscale(0.2),
                T.RandomApply([Blur()], p=blur),
                T.RandomApply([_solarise], p=solarise),
                *_tensor(normalise),
            ]
        )

    return [view(1.0, 0.0)] * each + [view(0.1, 0.2)] * each


def mcl(size: int) -> list:
    return byol(size, (0.2, 1.0), each=4, normalise=False)


class ReleasedPipeline:
    """From a file to the list of an image's views."""

    def __init__(self, views: list) -> None:
        self.views = views

    def __call__(self, path: str) -> list:
        with open(path, 'rb') as file:
            image = Image.open(file).convert('RGB')
        return [view(image) for view in self.views]


def collate(samples: list) -> list:
    """Samples to a batch per view."""
    return [torch.stack(views) for views in zip(*samples)]
