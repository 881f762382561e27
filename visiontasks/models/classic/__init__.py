"""Published networks that timm does not have, registered with it when imported: each is just a `backbone.name`."""

from visiontasks.models.classic import alexnet, cifar10, fashion_mnist, googlenet, lenet, unet

__all__ = ["alexnet", "cifar10", "fashion_mnist", "googlenet", "lenet", "unet"]
