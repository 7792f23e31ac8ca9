"""Fits to a log against dense solutions, files that are refused, and ranks that are known."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import binom

from toolbox.app import run
from toolbox.core.errors import ParameterError
from toolbox.studies.marl import crossval, data, model, recorded


def a_log(rank=2, agents=4, episodes=60, length=3, seed=0, noise=0.1, x=1):
    rng = np.random.default_rng(seed)
    truth = data.Rewards(
        data.random_tables(rng, agents, rank, x, 3)[None], data.subsets(agents, rank)
    )
    nu, _ = data.behaviour(rng, agents, x, 3, 5.0)
    log = data.log(rng, truth, 0, nu, episodes * length, noise)
    episode = np.repeat(np.arange(episodes), length)
    names = tuple(map(str, range(agents)))
    return log, recorded.Recorded(episode, log.context, log.actions, log.rewards, names)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [30, 180])
def test_a_fit_for_each_own_action_is_the_ridge_regression_of_the_whole(rank, rows):
    """Few rows are solved in the dual, many in the primal; both equal the dense fit."""
    log, kept = a_log()
    train, test = np.arange(rows), np.arange(rows, 180)
    if not len(test):
        test = np.arange(50)
    part = data.Log(log.context[train], log.actions[train], log.rewards[train])
    dense = data.Rewards(model.fit(part, rank, 1, 3, 0.7)[None], data.subsets(4, rank))
    expected = dense.values(0, log.context[test], log.actions[test])
    # An own action that was not logged keeps the mean in both.
    blocks = crossval.features(kept, rank)
    found = crossval.predictions(kept, blocks, log.rewards, train, test, [0.7])[0]
    assert np.allclose(found, expected, atol=1e-8)


def test_inner_products_of_the_features_count_the_sets_of_others_that_agree():
    _, kept = a_log(agents=6)
    for rank in (1, 2, 3, 6):
        blocks = crossval.features(kept, rank)
        for i in (0, 4):
            others = np.delete(kept.actions, i, axis=1)
            agreeing = (others[:, None] == others[None]).sum(axis=2)
            assert np.array_equal((blocks[i] @ blocks[i].T).toarray(), binom(agreeing, rank - 1))


def test_a_high_penalty_is_the_behaviour_mean():
    _, kept = a_log(x=2)
    train, test = np.arange(100), np.arange(100, 180)
    mean = crossval.predictions(kept, [], kept.rewards, train, test, [1.0])[0]
    for rank in (1, 2, 4):
        blocks = crossval.features(kept, rank)
        fit = crossval.predictions(kept, blocks, kept.rewards, train, test, [1e12])[0]
        assert np.allclose(fit, mean, atol=1e-8)


def test_limits_over_episodes_cover_as_often_as_they_say():
    """Steps that share a part of the episode: limits over single rows would miss far too often."""
    rng = np.random.default_rng(2)
    episode = np.repeat(np.arange(40), 6)
    hits = []
    for _ in range(1000):
        values = rng.standard_normal(40)[episode] + 0.5 * rng.standard_normal(240)
        _, low, high = crossval.interval(values, episode)
        hits.append(low <= 0 <= high)
    assert 0.93 < np.mean(hits) < 0.97


def test_folds_hold_whole_episodes_and_permuting_keeps_a_context():
    _, kept = a_log(x=2)
    rng = np.random.default_rng(3)
    fold = crossval.folds_of(kept.episode, 5, rng)
    assert all(len(set(fold[kept.episode == e])) == 1 for e in range(60))
    assert np.array_equal(np.unique(fold), np.arange(5))
    mixed = data.permuted(data.Log(kept.context, kept.actions, kept.rewards), rng).rewards
    for x in (0, 1):
        rows = kept.context == x
        assert not np.array_equal(mixed[rows], kept.rewards[rows])
        assert np.array_equal(np.sort(mixed[rows], axis=0), np.sort(kept.rewards[rows], axis=0))


def written(kept, path, place="context"):
    n, agents = kept.actions.shape
    rows = [
        {
            "episode": kept.episode[k], "step": k, "agent": f"a{i}", place: f"x{kept.context[k]}",
            "action": kept.actions[k, i], "reward": kept.rewards[k, i],
        }
        for k in range(n) for i in range(agents)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return frame


def same_partition(a, b):
    """Equal up to the names of the labels."""
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_a_file_holds_what_was_written_whatever_its_order_and_kind(tmp_path):
    _, kept = a_log(x=2)
    frame = written(kept, tmp_path / "log.csv")
    written(kept, tmp_path / "log.parquet")
    shuffled = frame.sample(frac=1, random_state=0)[frame.columns[::-1]].assign(more=1)
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    first = recorded.read(str(tmp_path / "log.csv"))
    assert first.agents == ("a0", "a1", "a2", "a3")
    # Steps are sorted as text, so rows are compared as sets.
    assert np.allclose(np.sort(first.rewards, axis=0), np.sort(kept.rewards, axis=0))
    by_reward = np.argsort(first.rewards[:, 0]), np.argsort(kept.rewards[:, 0])
    for name in ("episode", "context"):
        labels = getattr(first, name)[by_reward[0]], getattr(kept, name)[by_reward[1]]
        assert same_partition(*(each.tolist() for each in labels))
    for name in ("log.parquet", "shuffled.csv"):
        again = recorded.read(str(tmp_path / name))
        for field in ("episode", "context", "actions", "rewards"):
            assert np.array_equal(getattr(again, field), getattr(first, field)), (name, field)


def test_a_state_joins_the_action_of_its_agent(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "episode,step,agent,state,action,reward\n"
        "0,0,a,left,go,1\n0,0,b,right,go,0\n0,1,a,right,go,2\n0,1,b,right,go,1\n"
    )
    log = recorded.read(str(path))
    assert log.actions.tolist() == [[0, 0], [1, 0]]
    assert log.context.tolist() == [0, 0]


GOOD = "episode,step,agent,context,action,reward\n0,0,a,x,1,0.5\n0,0,b,x,2,0.25\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("reward", "score"), "line 1: the column 'reward' is missing"),
        (GOOD.replace("context", "where"), "line 1: one of the columns context and state"),
        (GOOD.replace("step", "agent"), "line 1: the column 'agent' stands twice"),
        (GOOD.replace("0.25", "high"), "line 3, column reward: 'high' is no finite number"),
        (GOOD.replace("0.25", "nan"), "line 3, column reward: 'nan' is no finite number"),
        (GOOD.replace("b,x,2,0.25", "b,x,,0.25"), "line 3, column action: the cell is empty"),
        (
            GOOD.replace("b,x,2", "b,x," + "2" * 300),
            "line 3, column action: '22222222222222222222'",
        ),
        (GOOD.replace("b,x", "b,y"), "line 3, column context: 'y' at episode 0, step 0"),
        (GOOD.replace("b,x", "a,x"), "line 3, column agent: 'a' stands at episode 0, step 0"),
        (GOOD + "0,1,a,x,1,0.5\n", "line 4, column agent: episode 0, step 1 has no row of agent"),
        (GOOD + "0,1,a,x,1\n", "line 4: 5 fields where the header has 6"),
        (GOOD + '0,1,a,"x,1,0.5\n', "line 4: unexpected end of data"),
        (GOOD.splitlines()[0] + "\n0,0,a,x,1,0.5\n", "it has 1 agents"),
        ("", "line 1: one of the columns"),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_its_place(text, said, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ParameterError) as error:
        recorded.read(str(path))
    assert said in str(error.value)
    assert "log.csv" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.csv", None, "No such file"),
        ("binary.csv", b"\xff\xfe\x00\x01", "no UTF-8 text"),
        ("wrong.parquet", b"no parquet", "this is no Parquet file"),
        ("short.csv", GOOD.encode(), "1 episodes"),
    ],
)
def test_the_command_refuses_in_one_sentence(name, content, said, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(["marl", "logs", str(tmp_path / name), "--out", str(tmp_path)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert name in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--ranks 0", "is no rank"),
        ("--ranks two", "is no rank"),
        ("--most-actions 2", "more than --most-actions 2"),
        ("--folds 100", None),
    ],
)
def test_flags_that_do_not_fit_the_log(words, said, tmp_path, capsys):
    path = tmp_path / "log.csv"
    _, kept = a_log(episodes=20)
    written(kept, path)
    assert run(["marl", "logs", str(path), *words.split(), "--out", str(tmp_path)]) == 2
    assert (said or "20 episodes") in " ".join(capsys.readouterr().err.split())


def test_systems_that_take_long_are_refused_unless_allowed(monkeypatch, tmp_path, capsys):
    from toolbox.studies.marl import logs

    monkeypatch.setattr(logs, "MOST_UNKNOWNS", 5)
    assert run(["marl", "logs", "--preset", "smoke", "--out", str(tmp_path)]) == 2
    assert "--ranks IR2: solves systems of 9 unknowns" in capsys.readouterr().err


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_rank_of_a_log_is_found_from_a_file(rank, tmp_path):
    """A log of another game, size and behaviour than the generated ones."""
    _, kept = a_log(rank, agents=5, episodes=500, length=2, seed=10 + rank, x=2)
    written(kept, tmp_path / "log.csv")
    words = ["--preset", "smoke", "--quiet"]
    assert run(["marl", "logs", str(tmp_path / "log.csv"), *words, "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("marl/logs/*/choice.csv")
    rows = pd.read_csv(path).set_index("rewards")
    assert rows.loc["logged"].tolist()[-2:] == [rank, rank]
    assert rows.loc["permuted", "enough"] == 0


def test_a_run_is_named_by_the_content_of_its_file(tmp_path, capsys):
    _, kept = a_log(episodes=12)
    ids = []
    for name in ("one.csv", "two.csv", "three.csv"):
        frame = written(kept, tmp_path / name)
        if name == "three.csv":
            frame.assign(reward=frame["reward"] + 0.5).to_csv(tmp_path / name, index=False)
        words = ["--preset", "smoke", "--json", "--quiet", "--out", str(tmp_path)]
        assert run(["marl", "logs", str(tmp_path / name), *words]) == 0
        ids.append(json.loads(capsys.readouterr().out)["folder"])
    assert ids[0] == ids[1] != ids[2]
