"""A dry run of a backbone: whether it works with an image size, and which of its parts it does not use."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def dry_run(backbone: Any, height: int, width: int) -> set[nn.Parameter]:
    """Runs a `Backbone` on one blank image in eval mode.

    Returns:
        The parameters that none of its maps depends on.

    Raises:
        Exception: Any error of a network that does not work with images of this size, or that has unusable maps.
    """
    images = torch.zeros(1, backbone.in_channels, height, width, device=backbone.normalizer.mean.device)
    training = backbone.training
    try:
        with torch.enable_grad():
            maps = backbone.eval()(images, pyramid=True)
    finally:
        backbone.train(training)
    found = [tuple(part.shape) for part in maps]
    if any(len(shape) != 4 or shape[1] != count for shape, count in zip(found, backbone.channels, strict=True)):
        raise ValueError(f"its maps have the shapes {found}, expected {backbone.channels} channels")
    if not maps[-1].requires_grad:  # in inference mode there is no graph
        return set()
    return {weight for weight in backbone.parameters() if weight.requires_grad} - _leaves(maps)


def parts_of(module: nn.Module, weights: set[nn.Parameter], prefix: str = "") -> Iterator[str]:
    """Yields the names of the largest parts of a module all of whose parameters are among these."""
    for name, child in module.named_children():
        own = set(child.parameters())
        if own and own <= weights:
            yield f"{prefix}{name}"
        else:
            yield from parts_of(child, weights, f"{prefix}{name}.")


def _leaves(tensors: Iterable[Tensor]) -> set[Any]:
    """Finds the leaves of the graphs of tensors, without computing a gradient."""
    found, seen, ahead = set(), set(), [tensor.grad_fn for tensor in tensors]
    while ahead:
        if (node := ahead.pop()) is not None and node not in seen:
            seen.add(node)
            found.add(getattr(node, "variable", None))
            ahead += [following for following, _ in node.next_functions]
    return found
