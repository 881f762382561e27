"""The layers of a network with their outputs, costs and receptive fields."""

from collections.abc import Sequence
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from visiontasks.core.compat import dispatch_mode, tree_leaves

aten = torch.ops.aten


class Layer(NamedTuple):
    """One call of a layer.

    Attributes:
        name: Path of the layer in the model.
        kind: Name of its class.
        output: Shape of the output for one image; empty for weights outside of any layer.
        weights: Number of its own weights; 0 if it was called before.
        multiplications: Number of multiplications for one image.
        memory: Bytes of the output for one image.
        field: Height and width of the receptive field in pixels, including padding; infinite for attention.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    weights: int
    multiplications: int
    memory: int
    field: tuple[float, float]


class Seen(NamedTuple):
    """Receptive field of a unit, and its distance to that of the next unit, as (height, width) in pixels."""

    field: tuple[float, float] = (1, 1)
    step: tuple[float, float] = (1, 1)

    def over(self, kernel: Sequence[float], stride: Sequence[float] = (1, 1)) -> "Seen":
        """Returns the field and step after a sliding window of `kernel` units with a stride."""
        (tall, wide), (down, right) = self.field, self.step
        field = tall + (kernel[0] - 1) * down, wide + (kernel[1] - 1) * right
        return Seen(field, (down * stride[0], right * stride[1]))


def layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """Runs a task, backbone or other module on one image (1, 3, H, W) and records each layer.

    Receptive fields follow from kernels, strides and dilations (Araujo, Norris and Sim 2019, eq. 2), operation by
    operation, which includes branches, skip connections and attention.

    Returns:
        The layers in the order of their calls, and modules that multiply or have weights outside of any layer.
    """
    found: list[Layer] = []
    names = {module: name for name, module in model.named_modules()}
    counted: set[nn.Parameter] = set()
    watch = _Watch()
    stack: list[int] = []  # multiplications of the modules that are running, without those of their children

    def own_weights(module: nn.Module) -> int:
        new = set(module.parameters(recurse=False)) - counted
        counted.update(new)
        return sum(parameter.numel() for parameter in new)

    def before(module: nn.Module, args: Any) -> None:
        if stack:
            stack[-1] += watch.take()
        stack.append(0)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        multiplications = stack.pop() + watch.take()
        weights = own_weights(module)
        (tensor, *_) = [value for value in tree_leaves(output) if isinstance(value, Tensor)] or [None]
        is_layer = not (list(module.children()) or isinstance(module, nn.Identity | nn.Sequential))
        if tensor is not None and (is_layer or weights or multiplications):
            shape, memory = tuple(tensor.shape[1:]), tensor.numel() * tensor.element_size()
            field = watch.seen.get(tensor, Seen()).field
            found.append(Layer(names[module], type(module).__name__, shape, weights, multiplications, memory, field))

    handles = [module.register_forward_pre_hook(before) for module in names]
    handles += [module.register_forward_hook(after) for module in names]
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), watch:
            watch.seen[images] = Seen()
            model(images)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    for module, name in names.items():
        if weights := own_weights(module):
            found.append(Layer(name, type(module).__name__, (), weights, 0, 0, (inf, inf)))
    return found


class _Watch(dispatch_mode()):
    """Counts the multiplications of each operation and follows the receptive fields of the tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Any = WeakTensorKeyDictionary()
        self.multiplications = 0

    def take(self) -> int:
        """Returns the multiplications since the last call."""
        count, self.multiplications = self.multiplications, 0
        return count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:  # the registry counts multiplications and additions
            self.multiplications += flop_registry[packet](*args, **(kwargs or {}), out_val=output) // 2
        known = [self.seen[value] for value in tree_leaves(args) if isinstance(value, Tensor) and value in self.seen]
        if known:
            fields, steps = (tuple(map(max, zip(*(seen[part] for seen in known), strict=True))) for part in (0, 1))
            after = _after(packet, Seen(fields, steps), args, output)
            for value in tree_leaves(output):
                if isinstance(value, Tensor):
                    self.seen[value] = after
        return output


def _after(packet: Any, seen: Seen, args: Any, output: Any) -> Seen:
    """Returns the receptive field after an operation, from the largest of its inputs."""
    x = args[0]
    if packet is aten.convolution:
        weight, _, stride, _, dilation, transposed = args[1:7]
        kernel = [(size - 1) * by + 1 for size, by in zip(weight.shape[2:], dilation, strict=True)]
        if transposed:
            return seen.over([-(-k // s) for k, s in zip(kernel, stride, strict=True)], [1 / s for s in stride])
        return seen.over(kernel, stride)
    if packet in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel = _pair(args[1])
        stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
        dilation = _pair(args[4]) if packet is aten.max_pool2d_with_indices and len(args) > 4 else [1, 1]
        return seen.over([(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)], stride)
    if packet in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d):
        sides = list(zip(x.shape[-2:], _pair(args[1]), strict=True))
        return seen.over(
            [max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in sides], [n / m for n, m in sides]
        )
    if packet in (aten.mean, aten.amax, aten.sum) and x.ndim == 4 and len(args) > 1:
        reduced = {axis % 4 for axis in np.ravel(args[1])}
        return seen.over([x.shape[axis] if axis in reduced else 1 for axis in (2, 3)])
    if packet in (aten.upsample_bilinear2d, aten.upsample_nearest2d):
        small = [a / b for a, b in zip(x.shape[-2:], output.shape[-2:], strict=True)]
        return seen.over((2, 2) if packet is aten.upsample_bilinear2d else (1, 1), small)
    if packet in (aten.view, aten._unsafe_view) and x.ndim == 4 and output.shape == (len(x), prod(x.shape[1:])):
        return seen.over(x.shape[2:])  # flattened, so that the next layer sees all places
    if packet is aten.bmm or "scaled_dot_product" in str(packet):
        return Seen((inf, inf), seen.step)
    return seen


def _pair(value: Any) -> list[int]:
    return np.broadcast_to(value, 2).tolist()
