"""Where a value comes from: flag > environment > `--config FILE.yaml` > preset > default.

Typer reads flags and environment by itself; presets and configs become the context's
`default_map`, filled by two eager callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from toolbox.core.params import Param

SOURCES = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT": "default"}


def layers(ctx: typer.Context) -> dict[str, Any]:
    """The values of preset and config of this command line, and the preset's name."""
    values: dict[str, Any] = ctx.meta.setdefault(
        "toolbox.layers", {"preset": {}, "config": {}, "preset_name": "small"}
    )
    return values


def preset_reader(study: str, name: str, params: Mapping[str, Param]) -> Callable[..., str]:
    """The callback of `--preset`. Errors: `UsageError` for an unknown preset or a wrong value."""

    def read(ctx: typer.Context, value: str) -> str:
        from toolbox.core.presets import preset_values

        known = layers(ctx)
        if not ctx.resilient_parsing:
            known["preset"] = preset_values(study, name, value, params)
            known["preset_name"] = value
            ctx.default_map = {**known["preset"], **known["config"]}
        return value

    return read


def config_reader(params: Mapping[str, Param]) -> Callable[..., Path | None]:
    """The callback of `--config`. Errors: `UsageError` with file, line and key."""

    def read(ctx: typer.Context, value: Path | None) -> Path | None:
        from toolbox.core.presets import config_values

        known = layers(ctx)
        if value is not None and not ctx.resilient_parsing:
            known["config"] = config_values(value, params)
            ctx.default_map = {**known["preset"], **known["config"]}
        return value

    return read


def origins(ctx: typer.Context, names: Mapping[str, Any]) -> dict[str, str]:
    """Where each value came from: flag, environment, config, preset or default."""
    known = layers(ctx)
    result = {}
    for name in names:
        source = ctx.get_parameter_source(name)
        key = source.name if source is not None else "DEFAULT"
        layer = "config" if name in known["config"] else f"preset {known['preset_name']}"
        result[name] = SOURCES.get(key, layer)
    return result
