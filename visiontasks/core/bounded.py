"""Limits of YAML from any source."""

from itertools import pairwise
from typing import Any

import yaml

from visiontasks.core.build import MOST_VALUES

LONGEST, DEEPEST = 2_000_000, 50  # characters and levels; the class names of ImageNet-22k are 500,000


def check_yaml(text: str) -> None:
    """Checks YAML before it is loaded.

    Raises:
        yaml.YAMLError: It is not YAML, or so large, deep or full of aliases that reading it would take long, or a key
            appears twice.
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"{len(text):,} characters, more than the limit of {LONGEST:,}")
    node = yaml.compose(text, _Bounded)
    if node is not None:
        _check_keys(node)


class _Bounded(yaml.SafeLoader):
    """Stops early if there are too many values, counting what an alias stands for each time, or too many levels."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.values, self.depth = 0, 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"nested too deeply, more than {DEEPEST} levels")
        before, is_alias, self.depth = self.values, self.check_event(yaml.AliasEvent), self.depth + 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if is_alias and id(node) not in self.sizes:
            raise yaml.YAMLError(f"a value that contains itself{node.start_mark}")
        self.values = before + self.sizes.setdefault(id(node), self.values - before + 1)
        if self.values > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES:,} values")
        return node


def _check_keys(top: yaml.Node) -> None:
    nodes, seen = [top], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.CollectionNode) and id(node) not in seen:
            seen.add(id(node))  # an alias is the same node
            pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, item) for item in node.value]
            keys = [key for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
            nodes += [item for _, item in pairs]
            for first, again in pairwise(sorted(keys, key=lambda key: key.value)):
                if first.value == again.value:
                    line = again.start_mark.line + 1
                    raise yaml.YAMLError(f"the key {again.value!r} appears twice, again in line {line}.")
