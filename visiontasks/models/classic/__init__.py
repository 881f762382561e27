"""Published networks that timm does not have, registered with it when imported: each is just a `backbone.name`."""

from visiontasks.models.classic.unet import UNetEncoder, unet2015, unet2015_bn

__all__ = ["UNetEncoder", "unet2015", "unet2015_bn"]
