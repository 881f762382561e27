"""Nested settings as one level of dotted names, to compare them."""

from typing import Any


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested settings, dicts or namespaces of jsonargparse, to dotted names without `init_args`."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, list | tuple):
        value = [flat(item) if isinstance(item, dict) or hasattr(item, "as_dict") else item for item in value]
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): value}
    if isinstance(value.get("class_path"), str):  # a class may have several paths
        value = {"class": value["class_path"].rpartition(".")[2], **(value.get("init_args") or {})}
    return {name: item for key, part in value.items() for name, item in flat(part, f"{prefix}{key}.").items()}
