"""What is known of a command: its parameters, its experiment, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from toolbox.core.errors import ParameterError, UsageError
from toolbox.core.params import Param, params_of
from toolbox.core.studies import refuse_import


@dataclass(frozen=True)
class Command:
    """One command as its function `def name(run: Run, p: Parameters)` in a `cli.py` defines it."""

    study: str
    name: str
    experiment: Callable[[Any, Any], None]
    """Called with a `Run` and an instance of `parameters`."""
    parameters: type
    """The frozen dataclass whose fields are the command's flags."""
    after: Callable[..., None] | None = None
    """Called with (folder, parameters) once the run is there, to show something of it on stdout."""
    display: tuple[str, ...] = ()
    """Parameters for `after` alone; they change no number and are not part of the run's id."""
    files: tuple[str, ...] = ()
    """Parameters that name files to read; a file's SHA-256 joins the run's parameters."""
    within: tuple[str, ...] = ()
    """Files that are read where such a parameter names a folder, as paths in it."""

    @cached_property
    def params(self) -> dict[str, Param]:
        """The flags, by the name of the field."""
        return params_of(self.parameters)

    def values(self, given: Mapping[str, Any]) -> Any:
        """An instance of `parameters`; fields that are not given keep their defaults."""
        return self.parameters(**{name: given[name] for name in self.params if name in given})

    def compute(self, run: Any, given: Mapping[str, Any], flags: bool = True) -> None:
        """The experiment. It sees only what names the run: no display parameter can change a
        number.

        flags : name flags where the science refuses a parameter, which names fields

        Errors: `UsageError` that names flags, or `ParameterError`; `StudyError` where a file of
        the study imports what is not there.
        """
        p = self.values({k: v for k, v in given.items() if k not in self.display})
        try:
            self.experiment(run, p)
        except ParameterError as error:
            if not flags:
                raise
            raise UsageError(error.with_flags(self._flag, _typed)) from None
        except ImportError as error:
            refuse_import(self.study, error)
            raise

    def _flag(self, name: str) -> str:
        param = self.params.get(name)
        return param.flag if param else "--" + name.replace("_", "-")


def _typed(value: Any) -> str:
    """A value as a command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def command_of(
    function: Callable[..., None],
    after: Callable[..., None] | None = None,
    display: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    within: tuple[str, ...] = (),
) -> Command:
    """The command that a function of a `cli.py` defines.

    Errors: `TypeError` when it is no def name(run: Run, p: Parameters) with a frozen dataclass.
    """
    study = function.__module__.split(".")[-2]
    name = function.__name__.rstrip("_").replace("_", "-")
    hints = [kind for key, kind in get_type_hints(function).items() if key != "return"]
    options = getattr(hints[-1], "__dataclass_params__", None) if len(hints) == 2 else None
    if options is None or not options.frozen:
        raise TypeError(
            f"{function.__module__}.{function.__name__}: write def {function.__name__}(run: Run, "
            "p: Parameters) with a frozen dataclass of its flags"
        )
    return Command(study, name, function, hints[-1], after, display, files, within)
