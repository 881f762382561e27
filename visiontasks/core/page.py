"""Pages in HTML, each one file that needs nothing from a network."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import simplejpeg
from markupsafe import Markup
from PIL import Image

SHARED = Path(__file__).parent / "pages"  # base.html, style.css and scripts that several pages use


def render(template: Path, **content: Any) -> str:
    """Fills a template, whose text values are escaped; it may extend `base.html` and include the shared files.

    Args:
        template: The file; files beside it can be included too.
        **content: What its variables are. A missing one is an error.
    """
    return _environment(template.parent).get_template(template.name).render(content)


def picture(image: np.ndarray, longest: int = 320, quality: int = 80) -> str:
    """Returns an image, uint8 (H, W, 3) RGB, as the address of a JPEG picture whose longest side has `longest` pixels.

    A smaller image keeps its size.
    """
    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def script_data(value: Any) -> Markup:
    """Returns a value as JSON that is safe inside a script element, whatever text it contains."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&'":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@cache
def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_data"] = script_data
    return environment
