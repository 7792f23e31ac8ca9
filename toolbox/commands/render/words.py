"""Texts of a figure: what is mathematics and what only has dollars in it, and lines that fit."""

from __future__ import annotations

import functools
import re

from toolbox.core.text import NO_BREAK

# As in Markdown with mathematics: no space inside the dollars, nothing of a word behind the second.
_FORMULA = re.compile(r"(?<![\\$])\$(?=[^\s$])([^$\n]*?[^\s$\\])\$(?![\w$])")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def formulas(text: str) -> list[tuple[int, int]]:
    """Where the valid formulas of a text stand, with their dollars."""
    return [match.span() for match in _FORMULA.finditer(text) if _is_valid(match[1])]


@functools.cache
def _is_valid(formula: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(f"${formula}$")
    except (ValueError, RuntimeError):
        return False
    return True


def drawn(text: str) -> str:
    """The text for matplotlib: every dollar that belongs to no valid formula is a plain one."""
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)  # a font has no sign for them
    if "$" not in text:
        return text
    parts, last = [], 0
    for start, end in formulas(text):
        parts += [_escaped(text[last:start]), text[start:end]]
        last = end
    return "".join([*parts, _escaped(text[last:])])


def _escaped(text: str) -> str:
    return re.sub(r"\\?\$", r"\\$", text)


def wrapped(text: str, width: int) -> str:
    """Lines of about `width` characters, ready to be drawn; no formula is broken."""
    return "\n".join(drawn(line) for line in lines(text, width))


def length(text: str) -> int:
    """About how many letters wide a text is when it is drawn."""
    return max(len(plain(line)) for line in text.split("\n"))


def lines(text: str, width: int) -> list[str]:
    """Lines of about `width` characters, broken at spaces outside of formulas alone."""
    broken = []
    for part in text.split("\n"):
        for start, end in reversed(formulas(part)):
            part = part[:start] + part[start:end].replace(" ", NO_BREAK) + part[end:]
        line = ""
        for word in part.split(" "):
            longer = f"{line} {word}" if line else word
            if line and length(longer) > width:
                broken.append(line)
                longer = word
            line = longer
        broken.append(line)
    return [line.replace(NO_BREAK, " ") for line in broken]


_SYMBOLS = {"kappa": "κ", "tau": "τ", "theta": "θ", "epsilon": "ε", "mu": "μ", "lambda": "λ"}
_SYMBOLS |= {"alpha": "α", "beta": "β", "eta": "η", "rho": "ρ", "sigma": "σ", "gamma": "γ"}
_SYMBOLS |= {"leq": "≤", "geq": "≥", "times": "×", "sum": "Σ", "propto": "∝", "sqrt": "√"}
_SYMBOLS |= {"cdot": "·", "ln": "ln", "log": "log", "max": "max", "min": "min"}


def plain(text: str) -> str:
    """The text for a terminal: $\\kappa^{0.89}$ becomes κ^0.89, other dollars stay."""
    for start, end in reversed(formulas(text)):
        formula = re.sub(r"\\mathrm|\\mathbf|\\left|\\right", "", text[start + 1 : end - 1])
        formula = re.sub(r"\\([A-Za-z]+)", lambda word: _SYMBOLS.get(word[1], word[1]), formula)
        text = text[:start] + re.sub(r"\\[,;! ]|[{}]", "", formula) + text[end:]
    return text
