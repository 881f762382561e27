"""AlexNet."""

from __future__ import annotations

from torch import nn

from visiontasks.models.classic.plain import Stage, classic


@classic(size=224)
def alexnet(in_chans: int) -> list[Stage]:
    """AlexNet's convolutions as published: with local response normalization, and in two groups where it had two GPUs.

    Krizhevsky, Sutskever and Hinton 2012, section 3. With `LabelHead(pool="flatten", hidden=[4096, 4096],
    dropout=0.5)` and 1000 classes of 224x224 pixels it has 60,965,224 weights.
    """
    return [
        Stage(nn.Sequential(nn.Conv2d(in_chans, 96, 11, stride=4, padding=2), nn.ReLU(), response_norm()), 96, 4),
        Stage(
            nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), response_norm()),
            256,
            2,
        ),
        Stage(
            nn.Sequential(
                *(nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
                *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU()),
            ),
            256,
            2,
        ),
        Stage(nn.MaxPool2d(3, 2), 256, 2),
    ]


def response_norm() -> nn.LocalResponseNorm:
    """The strongest units inhibit those at the same place in neighbouring maps (section 3.3).

    k = 2, n = 5, alpha = 1e-4, beta = 0.75; torch divides alpha by n, the paper does not.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)
