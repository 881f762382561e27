"""Published networks that timm lacks. Importing this package registers them, so each can be a `backbone.name`."""
# ruff: noqa: F401 - imported to be registered

from visiontasks.models.classic.by_hand import by_hand
from visiontasks.models.classic.imagenet import alexnet, googlenet
from visiontasks.models.classic.lenet import lenet5, lenet5_1998
from visiontasks.models.classic.small import (
    cifar10_alexnet,
    cifar10_alexnet_bn,
    cifar10_convnet,
    cifar10_convnet_strided,
    dense300_100,
    fashion_cnn,
)
from visiontasks.models.classic.unet import unet2015, unet2015_bn
