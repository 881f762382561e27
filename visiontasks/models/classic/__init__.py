"""Published networks that timm does not have, registered with it when imported: each is just a `backbone.name`."""

from visiontasks.models.classic.alexnet import alexnet
from visiontasks.models.classic.by_hand import by_hand
from visiontasks.models.classic.cifar10 import (
    cifar10_alexnet,
    cifar10_alexnet_bn,
    cifar10_convnet,
    cifar10_convnet_strided,
)
from visiontasks.models.classic.fashion_mnist import dense300_100, fashion_cnn
from visiontasks.models.classic.googlenet import googlenet
from visiontasks.models.classic.lenet import lenet5, lenet5_1998
from visiontasks.models.classic.unet import unet2015, unet2015_bn

__all__ = [
    "alexnet",
    "by_hand",
    "cifar10_alexnet",
    "cifar10_alexnet_bn",
    "cifar10_convnet",
    "cifar10_convnet_strided",
    "dense300_100",
    "fashion_cnn",
    "googlenet",
    "lenet5",
    "lenet5_1998",
    "unet2015",
    "unet2015_bn",
]
