"""REFUEL: multi-turn RLHF by regressing the relative future, in a dialogue with exact values."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

from .flags import METHOD_NAMES, Bonus, Game, Judge, Training, Turns, complete_methods

app = study_app(__doc__)


@dataclass(frozen=True)
class Dialogue(Training):
    """The flags of `refuel dialogue`."""

    horizon: Turns = 5
    bonus: Bonus = 1.5
    policy: Annotated[  # one policy more than the other commands have
        Literal["mlp", "table", "transformer"],
        typer.Option(
            help="mlp: network of turn, level and topic. table: a logit for each answer. "
            "transformer: it reads the whole dialogue token by token; on a CPU give few --methods."
        ),
    ] = "mlp"  # type: ignore[assignment]
    layers: Annotated[int, typer.Option(help="Layers of the transformer."), Ge(1), Le(8)] = 2
    evaluated: Annotated[
        int,
        typer.Option(
            help="Dialogues from which the transformer's rewards are estimated; those of the other "
            "policies are exact."
        ),
        Ge(2),
        Le(100_000),
    ] = 8192
    methods: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Methods to compare, or all: " + ", ".join(METHOD_NAMES) + ".",
            autocompletion=complete_methods,
        ),
    ] = ("all",)
    tau: Annotated[
        float,
        typer.Option(
            help="Noise of the judge of the win rate, who prefers the first dialogue with chance "
            "1 / (1 + exp(-(R - R') / tau)). 0: no noise."
        ),
        Ge(0),
        Le(1000),
    ] = 0.0


@command(app)
def dialogue(run: Run, p: Dialogue) -> None:
    """Train every method of the paper's taxonomy on equal data; report exact rewards and win rates.

    Example: toolbox refuel dialogue --horizon 5 --bonus 1.5
    """
    from .dialogue import dialogue

    dialogue(run, p)


@dataclass(frozen=True)
class Theory(Game):
    """The flags of `refuel theory`."""

    horizon: Turns = 5
    bonus: Bonus = 1.5
    iters: Annotated[
        tuple[int, ...], typer.Option(help="Iterations to report."), Ge(1), Le(10_000)
    ] = (1, 4, 16, 64, 256)
    eta: Annotated[
        float, typer.Option(help="Step size eta of the exact iteration."), Gt(0), Le(1000)
    ] = 1.0
    judge: Judge = "end"
    forbidden_from: Annotated[
        int,
        typer.Option(
            help="Restricted support: the right clarification is not tried at this level or above."
        ),
        Ge(0),
        Le(12),
    ] = 2
    classes: Annotated[
        int,
        typer.Option(help="Random log-linear classes on which the two conditions are compared."),
        Ge(2),
        Le(1000),
    ] = 40


@command(app)
def theory(run: Run, p: Theory) -> None:
    """Iterate the exact update on tables: rate, coverage, closed form, and the two conditions.

    Example: toolbox refuel theory --horizon 5 --iters 1,4,16,64,256
    """
    from .theory import theory

    theory(run, p)


@dataclass(frozen=True)
class Horizon(Training):
    """The flags of `refuel horizon`."""

    horizons: Annotated[
        tuple[int, ...], typer.Option(help="Turns H of the sweep."), Ge(1), Le(12)
    ] = (2, 3, 5, 8)
    bonus: Bonus = 1.5
    panel_horizon: Annotated[
        int, typer.Option(help="Turns H of the second panel."), Ge(1), Le(12)
    ] = 5
    panel_bonus: Annotated[
        float,
        typer.Option(
            help="Bonus b of the second panel. Below 1 clarifying is also the best last answer, so "
            "that methods differ by who writes the beginnings alone."
        ),
        Ge(0),
        Le(100),
    ] = 0.8
    strengths: Annotated[
        tuple[float, ...],
        typer.Option(help="Grid of eta on which every method is tuned."),
        Gt(0),
        Le(100),
    ] = (1.0, 2.0, 4.0)


@command(app)
def horizon(run: Run, p: Horizon) -> None:
    """Compare REFUEL with beginnings from the base policy as dialogues grow longer.

    Example: toolbox refuel horizon --horizons 2,3,5,8
    """
    from .horizon import horizon

    horizon(run, p)


@dataclass(frozen=True)
class Fixed(Training):
    """The flags of `refuel fixed`."""

    horizon: Turns = 5
    bonus: Bonus = 1.5
    judge: Judge = "end"
    kl_coefs: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Weights of the log-ratio to the base policy that is taken off the reward."
        ),
        Ge(0),
        Le(100),
    ] = (0.0, 0.05, 0.2)
    strengths: Annotated[
        tuple[float, ...],
        typer.Option(help="Grid of eta on which every method is tuned."),
        Gt(0),
        Le(100),
    ] = (1.0, 2.0, 4.0)


@command(app)
def fixed(run: Run, p: Fixed) -> None:
    """Train on questions that were sampled beforehand; report reward against divergence.

    Example: toolbox refuel fixed --kl-coefs 0,0.05,0.2
    """
    from .fixed import fixed

    fixed(run, p)


@dataclass(frozen=True)
class Pairs(Training):
    """The flags of `refuel pairs`."""

    horizon: Turns = 5
    bonus: Bonus = 1.5
    strengths: Annotated[
        tuple[float, ...], typer.Option(help="Values of eta to compare."), Gt(0), Le(100)
    ] = (2.0,)
    iters: Annotated[
        int, typer.Option(help="Iterations of REFUEL whose pairs are shown."), Ge(1), Le(200)
    ] = 4
    held_out: Annotated[
        int,
        typer.Option(help="Pairs on which signs are compared; they are not trained on."),
        Ge(2),
        Le(20_000),
    ] = 2048


@command(app)
def pairs(run: Run, p: Pairs) -> None:
    """Show the pairs that REFUEL learns from: turns, rewards, and agreement of signs.

    Example: toolbox refuel pairs --iters 4
    """
    from .pairs import pairs

    pairs(run, p)


@dataclass(frozen=True)
class Lm:
    """The flags of `refuel lm`."""

    model: Annotated[
        str,
        typer.Option(
            help="Folder of a causal language model with a chat template. Empty: a small one is "
            "trained here on a synthetic task."
        ),
    ] = ""
    dialogues: Annotated[
        str,
        typer.Option(
            help="JSON-lines file of dialogues, {'messages': [{'role': ..., 'content': ...}, ...]} "
            "a line; the first messages are used. Belongs to --model."
        ),
    ] = ""
    user: Annotated[
        str,
        typer.Option(
            help="Who writes the user's next message: FILE.py:function of the messages so far, or "
            "the folder of a causal language model. Belongs to --model."
        ),
    ] = ""
    reward: Annotated[
        str,
        typer.Option(
            help="Reward of a dialogue: FILE.py:function of its messages, or the folder of a "
            "sequence classifier. Belongs to --model."
        ),
    ] = ""
    turns: Annotated[int, typer.Option(help="Turns H of a dialogue."), Ge(1), Le(8)] = 3
    iters: Annotated[int, typer.Option(help="Iterations."), Ge(1), Le(100)] = 4
    pairs: Annotated[
        int, typer.Option(help="Pairs of dialogues in an iteration."), Ge(2), Le(10_000)
    ] = 256
    steps: Annotated[
        int, typer.Option(help="Steps of Adam in an iteration."), Ge(1), Le(10_000)
    ] = 60
    batch: Annotated[int, typer.Option(help="Pairs in a step."), Ge(1), Le(256)] = 32
    lr: Annotated[
        float,
        typer.Option(
            help="Step size of Adam, which falls linearly to 0 in each iteration. 0: 0.003 with "
            "adapters, 0.001 without."
        ),
        Ge(0),
        Le(1),
    ] = 0.0
    eta: Annotated[
        float,
        typer.Option(
            help="Step size eta of the regression; eta times a reward should be near one."
        ),
        Gt(0),
        Le(10**6),
    ] = 1.0
    lora_r: Annotated[
        int, typer.Option(help="Rank of LoRA adapters. 0: all weights are trained."), Ge(0), Le(256)
    ] = 0
    tokens: Annotated[int, typer.Option(help="Tokens of a response at most."), Ge(1), Le(1024)] = 4
    temperature: Annotated[
        float,
        typer.Option(help="Temperature of sampling and of the log-probabilities."),
        Ge(0.01),
        Le(10),
    ] = 1.0
    evaluated: Annotated[int, typer.Option(help="Dialogues of an evaluation."), Ge(2), Le(512)] = (
        256
    )
    topics: Annotated[int, typer.Option(help="Topics of the synthetic task."), Ge(1), Le(10)] = 2
    contents: Annotated[
        int, typer.Option(help="Contents of the synthetic task."), Ge(2), Le(10)
    ] = 3
    bonus: Bonus = 1.5
    width: Annotated[
        int, typer.Option(help="Width of the small model, a multiple of 8."), Ge(8), Le(512)
    ] = 64
    layers: Annotated[int, typer.Option(help="Layers of the small model."), Ge(1), Le(8)] = 2
    supervised_steps: Annotated[
        int,
        typer.Option(help="Steps of the small model's supervised training."),
        Ge(1),
        Le(10_000),
    ] = 150


@command(app)
def lm(run: Run, p: Lm) -> None:
    """Train a causal language model with REFUEL; report its win rate against its own start.

    Example: toolbox refuel lm --iters 4
    """
    from .lm.experiment import lm

    lm(run, p)
