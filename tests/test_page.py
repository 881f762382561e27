"""Pages in HTML: text is never read as HTML or script, and nothing else is needed to open them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from PIL import Image

from visiontasks.core.page import SHARED, picture, render, script_data

HOSTILE = "</script><img src=x onerror=alert(1)>&'\""


def test_text_in_a_page_is_escaped(tmp_path: Path) -> None:
    template = tmp_path / "one.html"
    template.write_text(
        '{% extends "base.html" %}{% block main %}<p>{{ name }}</p>{% endblock %}'
        '{% block script %}<script type="application/json" id="data">{{ names | script_data }}</script>{% endblock %}'
    )
    page = render(template, title=HOSTILE, name=HOSTILE, names=[HOSTILE])
    assert "<img" not in page
    assert page.count("</script>") == 2
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data) == [HOSTILE]
    assert "<title>&lt;/script&gt;" in page


def test_a_variable_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text("{{ name }}")
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render(tmp_path / "one.html")


def test_shared_files_reach_for_nothing() -> None:
    for path in SHARED.iterdir():
        assert "http" not in path.read_text("utf-8"), path


SHOWN = """async () => {
  const image = Object.assign(document.createElement("canvas"), {width: 100, height: 80})
  const car = (x, score) => ({label: "car", score, bbox: [x, 10, x + 20, 30]})
  const element = document.getElementById("result"), names = {class_names: ["car"]}
  const pressed = () => [...element.querySelectorAll(".line")].map(row => row.getAttribute("aria-pressed"))
  const update = await showResult(element, image, {objects: [car(10, 0.9), car(60, 0.8)]}, names)
  const canvas = element.querySelector("canvas"), row = element.querySelectorAll(".line")[1], found = []
  row.click()
  found.push(pressed())
  await update(image, {objects: [car(62, 0.9), car(11, 0.8)]}) // they change places in the list
  found.push(pressed())
  await update(image, {objects: [car(10, 0.9)]}) // it is hidden
  found.push(pressed())
  await update(image, {objects: [car(12, 0.9), car(64, 0.8), car(58, 0.7)]})
  found.push(pressed())
  element.querySelectorAll(".line")[1].click()
  found.push(pressed())
  return {found, kept: canvas.isConnected, text: element.innerText}
}"""


@pytest.mark.slow
def test_a_marked_object_stays_marked_in_the_next_pictures(browser: Any, tmp_path: Path) -> None:
    template = tmp_path / "one.html"
    template.write_text(
        '{% extends "base.html" %}{% block main %}<div class="result" id="result"></div>{% endblock %}'
        "{% block script %}<script>"
        '{% for name in ["colors", "overlay", "bars", "result"] %}{% include name ~ ".js" %}\n{% endfor %}'
        "</script>{% endblock %}"
    )
    page = browser.new_page()
    page.set_content(render(template, title="one"))
    answer = page.evaluate(SHOWN)
    assert answer["found"] == [
        ["false", "true"],
        ["true", "false"],
        ["false"],
        ["false", "true", "false"],
        ["false", "false", "false"],
    ]
    assert answer["kept"]
    assert "80.0" in answer["text"]


def test_a_number_that_json_lacks_is_an_error() -> None:
    assert json.loads(script_data({"a": [1, None, "é"]})) == {"a": [1, None, "é"]}
    with pytest.raises(ValueError, match="JSON"):
        script_data(float("nan"))


@pytest.mark.parametrize(("size", "expected"), [((800, 400), (320, 160)), ((40, 30), (40, 30))])
def test_a_picture_in_a_page_has_at_most_the_asked_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), (200, 10, 10), np.uint8)
    data = base64.b64decode(picture(image).partition(",")[2])
    found = Image.open(io.BytesIO(data))
    assert found.size == expected
    assert np.abs(np.asarray(found).astype(int) - image[0, 0]).max() < 6
