"""The guided dialogue and the method table of the study refuel against a Python loop per dialogue.

    python benchmarks/refuel.py

1. The environment: roll-outs of H = 5 turns, pairs with a reset, and exact values, against the same
   rules played one dialogue at a time in plain Python with numpy's random numbers.
2. The whole method table: `refuel dialogue --preset small --repeats 6`, all twelve methods at four
   strengths, on one thread: processor seconds, and these for a method, strength and seed.
3. Two more policies: a step of the transformer ensemble against a step of the network's.

All times are processor seconds of this process, so that other work on the machine counts little.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from toolbox.app import run
from toolbox.studies.refuel import data, learn, methods, play, values
from toolbox.studies.refuel.data import Game, Maps
from toolbox.studies.refuel.methods import METHODS
from toolbox.studies.refuel.transformer import Transformers

SEEDS, MEMBERS, DIALOGUES = 6, 4, 4096


def seconds(function: Callable[[], object], rounds: int = 5) -> float:
    """Median processor seconds, after one call that warms up."""
    function()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times)


def one_dialogue(
    game: Game, maps: Maps, sums: list[list[float]], rng: np.random.Generator,
    begin: list[tuple[int, int]] | None = None, reset: int = 0,
) -> tuple[list[float], list[tuple[int, int]]]:  # fmt: skip
    """One dialogue turn by turn: reward after each, and (topic, answer) of each."""
    level, rewards, said = 0, [], []
    for h in range(game.horizon):
        kept = begin is not None and h <= reset
        topic = begin[h][0] if begin is not None and kept else int(rng.integers(game.topics))
        state = (h * (h + 1) // 2 + level) * game.topics + topic
        if begin is not None and h < reset:
            answer = begin[h][1]
        else:
            u = rng.random()
            answer = next(i for i, each in enumerate(sums[state]) if u < each or each >= 1.0)
        bonus = 0.0
        if answer == maps.clarify[state]:
            level += 1
        elif answer == maps.answer[state]:
            bonus = game.bonus
        else:
            level = max(level - 1, 0)
        rewards.append(level + bonus)
        said.append((topic, answer))
    return rewards, said


def one_pair(game: Game, maps: Maps, sums: list[list[float]], rng: np.random.Generator) -> float:
    """A pair of REFUEL: a dialogue, a reset at a random turn, the other dialogue."""
    n = int(rng.integers(game.horizon))
    h = int(rng.integers(n + 1))
    first, said = one_dialogue(game, maps, sums, rng)
    second, _ = one_dialogue(game, maps, sums, rng, said, h)
    return first[n] - second[n]


def exact_by_loop(game: Game, maps: Maps, table: np.ndarray) -> list[float]:
    """J_1..J_H of one policy, state by state."""
    chance = {0: 1.0}
    found = []
    for h in range(game.horizon):
        after: dict[int, float] = {}
        reward = 0.0
        for level, weight in chance.items():
            for topic in range(game.topics):
                state = (h * (h + 1) // 2 + level) * game.topics + topic
                for answer in range(game.answers):
                    p = weight * table[state, answer] / game.topics
                    end, bonus = max(level - 1, 0), 0.0
                    if answer == maps.clarify[state]:
                        end = level + 1
                    elif answer == maps.answer[state]:
                        end, bonus = level, game.bonus
                    after[end] = after.get(end, 0.0) + p
                    reward += p * (end + bonus)
        chance = after
        found.append(reward)
    return found


def environment() -> None:
    game = Game()
    rng = np.random.default_rng(0)
    maps = data.draw_maps(rng, game)
    tables = rng.dirichlet(np.ones(game.answers), size=(MEMBERS, game.states))
    sums = data.cumulative(tables)
    listed = sums[0].tolist()
    rows = np.arange(MEMBERS)[:, None, None]
    refuel = [METHODS["REFUEL"]] * MEMBERS
    few = 400

    def rolled() -> object:
        return data.roll(game, maps, sums, data.draw_luck(rng, game, DIALOGUES), rows)

    def paired() -> object:
        return methods.collect_pairs(
            rng, game, maps, refuel, sums, sums[0], DIALOGUES, "random", 0.0
        )

    def exact() -> object:
        return values.expected(game, values.reward_law(game, *values.chances(game, maps, many)))

    many = rng.dirichlet(np.ones(game.answers), size=(432, game.states))  # 48 members, 9 times
    (base,) = values.expected(
        game, values.reward_law(game, *values.chances(game, maps, tables[:1]))
    )[0]
    assert np.allclose(base, exact_by_loop(game, maps, tables[0]))
    each = [
        ("dialogue of five turns", seconds(rolled) / (MEMBERS * DIALOGUES),
         seconds(lambda: [one_dialogue(game, maps, listed, rng) for _ in range(few)]) / few),
        ("pair with a reset", seconds(paired) / (MEMBERS * DIALOGUES),
         seconds(lambda: [one_pair(game, maps, listed, rng) for _ in range(few)]) / few),
        ("exact values of a policy", seconds(exact) / len(many),
         seconds(lambda: exact_by_loop(game, maps, tables[0]))),
    ]  # fmt: skip
    print(f"{'':26s} {'ours':>12s} {'loop':>12s}   loop / ours (limit 20)")
    for name, ours, loop in each:
        print(f"{name:26s} {1e6 * ours:9.2f} us {1e6 * loop:9.1f} us   {loop / ours:.0f}")


def method_table() -> None:
    with tempfile.TemporaryDirectory() as out:
        words = ["refuel", "dialogue", "--preset", "small", "--repeats", str(SEEDS)]
        words += ["--threads", "1", "--quiet", "--out", out]
        wall, started = time.perf_counter(), time.process_time()
        assert run(words) == 0
        used = time.process_time() - started
        wall = time.perf_counter() - wall
        assert next(Path(out).glob("refuel/dialogue/*/curve.csv")).is_file()
    members = len(METHODS) * 4 * SEEDS
    print(
        f"method table, {SEEDS} seeds, 12 methods x 4 strengths: {used:.0f} processor seconds, "
        f"{used / 2 / 120:.2f} of two cores for two minutes; {used / members:.2f} s for a method, "
        f"strength and seed ({wall:.0f} s wall on one thread)"
    )


def policies() -> None:
    game, members, batch = Game(), 4, 512
    setting = learn.Setting(
        game, 0.25, 0.35, 8, 4096, 200, batch, 0.003, (2.0,), "mlp", 64, "random", 0.0
    )
    network = learn.Policies(game.inputs(), game.states, game.answers, setting.width)
    rng = np.random.default_rng(0)
    network.start(torch.stack([network.draw(rng) for _ in range(members)]))
    reader = Transformers(game, 64, 2)
    reader.start(torch.stack([reader.draw(rng) for _ in range(members)]))
    chance = play.Chance.draw([rng] * members, game, 2 * batch, "cpu")
    maps = [data.draw_maps(rng, game)] * members
    tokens = play.play(reader, play.Right.of(maps, 1, "cpu"), chance).tokens
    rate = torch.tensor(0.001)
    plain = seconds(lambda: network.step(network.logits().square().mean(), 0.001))
    read = seconds(lambda: reader.step(reader.chosen(tokens).square().mean(), rate))
    print(f"step of {members} members, {batch} pairs: network (of a table of all states) "
          f"{1e3 * plain:.2f} ms, transformer (2 layers of 64) {1e3 * read:.0f} ms: "
          f"{read / plain:.0f} times")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    environment()
    policies()
    if "--no-table" not in sys.argv:
        method_table()
