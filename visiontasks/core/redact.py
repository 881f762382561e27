"""Removal of secrets, such as passwords and keys, from what is written to files."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

REDACTED = "REDACTED"
# `key` alone is the key of a head
_SECRET = re.compile(
    r"(^|[\W_])(api-?key|\w+[_-]key|(\w+[_-])?(token|secret|passw(or)?d|credentials?))$", re.IGNORECASE
)
_USER = re.compile(r"(\b\w+://)[^/\s@]+@")  # of an address such as s3://user:password@host
_SHORTEST = 6  # characters of a value that is searched for in other texts


def is_secret(name: str) -> bool:
    """Returns whether an option of this name, also a dotted one, holds a secret if its value is a text."""
    return _SECRET.search(name) is not None


def redact(value: Any, name: str = "") -> Any:
    """Replaces the secrets in a config: texts whose option `is_secret`, and the user in addresses."""
    if isinstance(value, dict):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, name) for item in value]
    if isinstance(value, str):
        return REDACTED if value and is_secret(name) else _USER.sub(rf"\1{REDACTED}@", value)
    return value


def redact_arguments(args: Sequence[str]) -> list[str]:
    """Replaces the secrets in the arguments of a command line: `--some.token VALUE` and `--some.token=VALUE`."""
    found, before = [], ""
    for argument in args:
        option, equals, value = argument.partition("=")
        if argument.startswith("-"):
            found.append(f"{option}={redact_text(redact(value, option), ())}" if equals else option)
        else:
            found.append(redact_text(redact(argument, before), ()))
        before = argument
    return found


def secrets_of(args: Sequence[str], environment: dict[str, str]) -> list[str]:
    """Returns the secrets in the arguments and the environment that are long enough to be searched for."""
    pairs = [*environment.items(), *pairwise(args)]
    pairs += [(option, value) for option, _, value in (argument.partition("=") for argument in args)]
    return [value for name, value in pairs if is_secret(name) and len(value) >= _SHORTEST]


def redact_text(text: str, secrets: Sequence[str]) -> str:
    """Replaces known secrets, what looks like `token: VALUE`, and the user in addresses in any text."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    pairs = re.compile(r"""([\w.-]+)(["']?\s*[:=]\s*["']?)([^\s"',}\]]+)""")
    text = pairs.sub(lambda m: f"{m[1]}{m[2]}{REDACTED}" if is_secret(m[1]) else m[0], text)
    return _USER.sub(rf"\1{REDACTED}@", text)
