"""Published networks that timm lacks. Importing this package registers them, so each can be a `backbone.name`."""
# ruff: noqa: F401 - imported to be registered

import visiontasks.models.classic.imagenet
import visiontasks.models.classic.small
import visiontasks.models.classic.unet
