"""Presets and `--config` files: values by name, held to the command's signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolbox.core.errors import UsageError
from toolbox.core.params import Param
from toolbox.core.spec import load_command, preset_line
from toolbox.core.strict_yaml import load_mapping
from toolbox.core.suggest import did_you_mean


def preset_values(
    study: str, command: str, preset: str, params: Mapping[str, Param]
) -> dict[str, Any]:
    """The values of a preset, parsed.

    Errors: `UsageError` for an unknown preset, parameter or a value of the wrong type.
    """
    presets = load_command(study, command).presets
    if preset not in presets:
        raise UsageError(f"--preset {preset}: {study} {command} has {', '.join(presets)}")
    values = presets[preset]
    return {
        key: _checked(key, value, params, lambda k: preset_line(study, command, preset))
        for key, value in values.items()
    }


def config_values(path: Path, params: Mapping[str, Param]) -> dict[str, Any]:
    """The values of a `--config` file, parsed.

    Errors: `UsageError` beginning with file:line and naming the key and what was expected.
    """
    mapping = load_mapping(path)
    return {key: _checked(key, value, params, mapping.where) for key, value in mapping.items()}


def _checked(key: str, value: Any, params: Mapping[str, Param], where: Any) -> Any:
    if key not in params:
        raise UsageError(
            f"{where(key)}: {key}: no such parameter{did_you_mean(key, params)} "
            f"(there are {', '.join(params)})"
        )
    try:
        return params[key].parse(value)
    except ValueError as error:
        raise UsageError(f"{where(key)}: {key}: {error}") from None
