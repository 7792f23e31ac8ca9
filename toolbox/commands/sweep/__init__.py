"""`toolbox sweep`: one command over a grid, here or in a scheduler's job array."""

import typer

from toolbox.commands.sweep import gather, plan, run, script, status, submit

app = typer.Typer(
    help="Run one command over a grid from a YAML file, here or in a job array.\n\n"
    "Start with: toolbox sweep plan FILE.yaml (docs/clusters.md has the rest)",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for _module in (plan, run, script, submit, status, gather):
    app.command(_module.__name__.rpartition(".")[2])(_module.command)
