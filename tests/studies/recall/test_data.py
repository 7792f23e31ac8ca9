"""The task: facts, prompts, counts."""

import numpy as np
import pytest
import torch

from toolbox.studies.recall import data

TASK = data.Task(subjects=6, relations=4, answers=3, noise=10, length=9)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_answers_belong_to_their_relation():
    for table in (
        data.random_facts(TASK, np.random.default_rng(0)),
        data.structured_facts(TASK),
    ):
        assert table.shape == (6, 4)
        assert (table // 3 == np.arange(4)).all()


def test_structured_facts_name_the_subject():
    table = data.structured_facts(TASK) % 3
    assert (table == table[:, :1]).all()
    assert np.unique(table).tolist() == [0, 1, 2]


def test_random_facts_are_uniform():
    task = data.Task(400, 50, 4, 10, 9)
    own = data.random_facts(task, np.random.default_rng(0)) % 4
    shares = np.bincount(own.ravel()) / own.size
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / own.size)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_prompt_holds_one_subject_one_relation_and_ends_with_eos(shuffle):
    subject, relation = data.random_queries(TASK, 500, generator())
    tokens = data.prompts(TASK, subject, relation, generator(), shuffle)
    assert tokens.shape == (500, 9)
    assert (tokens[:, -1] == TASK.vocabulary - 1).all()
    body = tokens[:, :-1]
    assert ((body < 6).sum(1) == 1).all()
    assert (((body >= 6) & (body < 10)).sum(1) == 1).all()
    assert (body.sort(1).values[:, 0] == subject).all()
    assert (body.sort(1).values[:, 1] - 6 == relation).all()
    noise = body[body >= 10]
    assert len(noise) == 500 * 6
    assert noise.max() == 19
    assert len(noise.unique()) == 10


def test_shuffled_subjects_stand_everywhere_but_last():
    subject, relation = data.random_queries(TASK, 4000, generator())
    tokens = data.prompts(TASK, subject, relation, generator(), shuffle=True)
    places = (tokens < 6).double().mean(0)
    assert places[-1] == 0
    assert (places[:-1] - 1 / 8).abs().max() < 4 * np.sqrt(1 / 8 * 7 / 8 / 4000)


def test_counts_count():
    tokens = torch.tensor([[0, 7, 10, 10, 20], [5, 9, 11, 12, 20]])
    found = data.counts(tokens, 21)
    assert found.sum(1).tolist() == [5, 5]
    assert found[0, 10] == 2
    assert found[1, 10] == 0


def test_every_query_stands_in_the_test_set_equally_often():
    subject, relation = data.all_queries(TASK, 3, "cpu")
    _, often = torch.unique(subject * 4 + relation, return_counts=True)
    assert often.tolist() == [3] * 24


def test_associations():
    assert data.association(5, None).tolist() == [0, 1, 2, 3, 4]
    assert data.association(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(data.association(3, 32).tolist())) == 3
