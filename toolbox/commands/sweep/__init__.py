"""Run one command over a grid from a YAML file, here or in a job array.

Start with: toolbox sweep plan FILE.yaml (docs/clusters.md has the rest)
"""

import typer

from toolbox.commands.sweep import gather, plan, run, script, status, submit
from toolbox.core.environment import prefix_of
from toolbox.core.help import help_command

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
for _module in (plan, run, script, submit, status, gather):
    _name = _module.__name__.rpartition(".")[2]
    app.command(_name, cls=help_command(prefix_of("sweep", _name)))(_module.command)
