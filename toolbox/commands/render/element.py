"""A figure as an element of an HTML page: text stays text, and nothing in it concerns the page."""

from __future__ import annotations

import io
import re
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from .files import no_warnings
from .style import STYLE

Element = ElementTree.Element

_LONG_DECIMALS = re.compile(r"(\.\d\d)\d+")
_POINTED = re.compile(r"url\(#([^)]+)\)")
_FONTS = re.compile(r"font-family: 'DejaVu Sans', [^;]*;? ?")
_DROPPED = ("metadata", "style", "title", "desc")


class Inline(NamedTuple):
    """An `<svg>` element and its size in points."""

    markup: str
    width: float
    height: float


def inline(figure: Figure, prefix: str, label: str) -> Inline:
    """Draw a figure as an `<svg>` element with a transparent ground.

    prefix : what every id begins with; ids of several figures in a page must differ
    label : what a screen reader says of it
    """
    text = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none"}), no_warnings():
        # Laid out here, for savefig would draw everything once more to do it.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
        figure.set_layout_engine("none")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    left, top, width, height = (float(part) for part in root.attrib["viewBox"].split())
    used: set[str] = set()
    _short(root, used)
    _tidy(root, used, prefix)
    root.attrib.clear()
    root.attrib |= {
        "viewBox": f"{left:g} {top:g} {width:g} {height:g}",
        "role": "img",
        "aria-label": label,
    }
    return Inline(ElementTree.tostring(root, encoding="unicode"), width, height)


def _short(element: Element, used: set[str]) -> None:
    """Drop namespaces, metadata, the style sheet (which would hold for the whole page), the list of
    fonts (which the page gives) and needless decimals; collect the ids that are referred to."""
    element.tag = element.tag.rpartition("}")[2]
    found = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    for name in ("d", "points", "x", "y", "transform"):
        if name in found:
            found[name] = _LONG_DECIMALS.sub(r"\1", " ".join(found[name].split()))
    if found.get("transform", "").startswith("rotate(-0 "):
        del found["transform"]
    if "style" in found:
        found["style"] = _FONTS.sub("", found["style"])
    used.update(_POINTED.findall(" ".join(found.values())))
    if found.get("href", "").startswith("#"):
        used.add(found["href"][1:])
    element.attrib.clear()
    element.attrib |= found
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED:
            element.remove(child)
        else:
            _short(child, used)


def _tidy(element: Element, used: set[str], prefix: str) -> None:
    """Make ids that are referred to unique, drop the others, and groups that say nothing."""
    if element.attrib.get("id", "") in used:
        element.attrib["id"] = f"{prefix}-{element.attrib['id']}"
    else:
        element.attrib.pop("id", None)
    for name, value in element.attrib.items():
        if name == "href" and value.startswith("#"):
            element.attrib[name] = f"#{prefix}-{value[1:]}"
        elif "url(#" in value:
            element.attrib[name] = _POINTED.sub(rf"url(#{prefix}-\1)", value)
    children = []
    for child in element:
        _tidy(child, used, prefix)
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    if children:
        element[:] = children
    if element.tag not in ("text", "tspan"):
        element.text = None
        for child in element:
            child.tail = "\n"
