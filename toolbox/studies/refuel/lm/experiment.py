"""`refuel lm`: the same loss on a causal language model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from ..cli import Lm
from ..data import Game
from . import sources, words
from .chat import Message
from .trainer import Pair, Refuel, Settings

SUPERVISED = 512
CHUNK = 64
RATES = {False: 0.001, True: 0.003}


def lm(run: Run, p: Lm) -> None:
    """Rows after each iteration, of each replicate: the training, and each turn's win rate.

    Errors: `UsageError` without transformers and peft; `ParameterError` for sources that are
    missing or do not fit together.
    """
    sources.require_packages()
    check(p)
    for package in run.cells(["transformers", "peft"], "packages"):
        importlib.import_module(package)
    for repeat in run.replicates():
        seed = int(run.rng(repeat, "lm").integers(2**62))
        model, tokenizer, user, reward, prompts, game = given(run, repeat, p, seed)
        if p.lora_r:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed % 2**32)
                model = sources.with_adapters(model, p.lora_r)
        settings = Settings(
            p.turns, p.pairs, p.steps, p.batch, p.lr or RATES[p.lora_r > 0], p.eta, p.tokens,
            p.temperature, chunk=CHUNK, evaluated=p.evaluated,
        )  # fmt: skip
        trainer = Refuel(model, tokenizer, user, reward, prompts, settings, seed)

        def reseed(
            *key: int | str, repeat: int = repeat, game: words.WordGame | None = game
        ) -> None:
            if game is not None:
                game.topics = run.rng(repeat, "topics", *key)

        run.kept(trainer.base_rewards)
        for _ in run.cells(["start"], "evaluations", trainer.base_rewards):
            reseed("evaluation", 0)
            report(run, repeat, trainer, 0, {"pairs": 0, "kl": 0.0})
        for t in run.cells(range(p.iters), "iterations", model):
            rows: list[list[Any]] = run.kept([])
            for part in run.steps(-(-p.pairs // CHUNK), rows, label="collections"):
                reseed("pairs", t, part)
                found = trainer.collect(t, part, min(CHUNK, p.pairs - part * CHUNK))
                rows += [[f.first, f.second, f.start, f.apart, f.old] for f in found]
            pairs = [Pair(*row) for row in rows]
            held, used = pairs[: len(pairs) // 8], pairs[len(pairs) // 8 :]
            facts: dict[str, Any] = {
                "pairs": len(pairs),
                "kl": trainer.divergence(pairs) if pairs else None,
            }
            optimizer = trainer.optimizer()
            losses: list[float] = run.kept([])
            rng = run.rng(repeat, "batches", t)
            # Without pairs all answers have become equal: the policy stays as it is.
            for step in run.steps(p.steps if used else 0, model, optimizer, rng, losses):
                losses.append(trainer.step(optimizer, used, step, rng))
                run.check_finite(losses[-1], f"the loss at step {step + 1} of iteration {t + 1}")
            if losses:
                facts["loss"] = float(np.mean(losses[-10:]))
            if held:
                facts |= trainer.diagnose(held)
            reseed("evaluation", t + 1)
            report(run, repeat, trainer, t + 1, facts)


def check(p: Lm) -> None:
    """Refuse sources that do not fit together, before anything is loaded."""
    if p.width % 8:
        raise ParameterError("width", p.width, "is no multiple of 8", "round it")
    if p.model and not (p.user and p.reward and p.dialogues):
        missing = next(name for name in ("user", "reward", "dialogues") if not getattr(p, name))
        raise ParameterError(missing, "", "is empty, but {model} is given", "give it too")
    for name in ("user", "reward", "dialogues"):
        if getattr(p, name) and not p.model:
            raise ParameterError(name, getattr(p, name), "belongs to {model}, which is empty",
                                 "give the folder of a checkpoint")  # fmt: skip


def given(
    run: Run, repeat: int, p: Lm, seed: int
) -> tuple[
    Any, Any, Callable[[list[Message]], str], Callable[[list[Message]], float], list[str],
    words.WordGame | None,
]:  # fmt: skip
    """Model, tokenizer, user, reward and first messages; and the game, where it is synthetic."""
    if p.model:
        prompts, reward = sources.first_messages(p.dialogues), sources.reward_of(p.reward)
        user = sources.user_of(p.user, p.tokens, seed)
        model, tokenizer = sources.checkpoint(p.model)
        return model.to(run.device), tokenizer, user, reward, prompts, None
    game = words.WordGame.draw(
        Game(p.turns, p.topics, p.contents, p.bonus),
        run.rng(repeat, "maps"),
        run.rng(repeat, "topics"),
    )
    tokenizer = words.tokenizer_of(game.game)
    model = words.model_of(tokenizer, p.width, p.layers, seed % 2**32).to(run.device)
    rows = words.supervised_rows(tokenizer, game.dialogues(SUPERVISED, 0.25, 0.35))
    optimizer, rng = torch.optim.Adam(model.parameters()), run.rng(repeat, "supervised")
    for step in run.steps(p.supervised_steps, model, optimizer, rng, label="supervised steps"):
        for group in optimizer.param_groups:
            group["lr"] = 0.003 * (1 - step / p.supervised_steps)
        optimizer.zero_grad()
        chosen = [rows[i] for i in rng.choice(len(rows), 64)]
        torch.autograd.backward(words.supervised_loss(model, tokenizer, chosen))
        optimizer.step()
    return model, tokenizer, game.user, game.reward, game.prompts(), game


def report(run: Run, repeat: int, trainer: Refuel, t: int, facts: dict[str, Any]) -> None:
    """Evaluate, and write the rows of an iteration."""
    found = trainer.evaluate(t)
    for row in found:
        run.write("turns", {"iteration": t, **row}, repeat)
    last: dict[str, Any] = {"iteration": t, "loss": None, "agreement": None, "kl": None, **facts,
           "reward": found[-1]["reward"], "win_rate": found[-1]["win_rate"]}  # fmt: skip
    run.write("progress", last, repeat)
