"""The commands as a user calls them: what is refused, what a link or a grid changes."""

import json

import pandas as pd
import pytest


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["error", "--dims", "10"], "--dims 10"),
        (["error", "--dims", "12", "--r", "12"], "--r 12"),
        (["error", "--methods", "net1,svm"], "--methods svm"),
        (["error", "--methods", "net0"], "--methods net0"),
        (["error", "--samples", "4000,1000"], "--samples 4000,1000"),
        (["error", "--link", "p9"], "--link p9"),
        (["error", "--penalties", "-1"], "--penalties"),
        (["recover", "--link", "h2(z3)"], "--link h2(z3)"),
        (["recover", "--link", "prod", "--r", "1"], "--link prod"),
        (["recover", "--low", "1", "--high", "0.5"], "--low"),
        (["recover", "--targets", "0.2"], "--targets"),
        (["recover", "--features", "goe", "--r", "9", "--dims", "8"], "--r 9"),
        (["transfer", "--links", "lin3,h2(z7)"], "--links h2(z7)"),
        (["transfer", "--d", "7"], "--d 7"),
        (["kernel", "--network", "mlp"], "--network"),
        (["spectrum", "--n1", "500,100"], "--n1"),
        (["width", "--m2", "64,wide"], "--m2 wide"),
        (["width", "--m2", "0"], "--m2 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(cli, words, says, tmp_path):
    done = cli("hierarchical", *words, "--preset", "smoke", "--out", str(tmp_path))
    assert done.code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*/*/[0-9a-f]*"))


def table(done, name):
    document = json.loads(done.stdout)
    return pd.read_csv(document["tables"][name])


def test_a_link_that_one_step_cannot_see_is_said_and_not_learned(cli, tmp_path):
    words = ["recover", "--preset", "smoke", "--dims", "8", "--high", "1", "--json"]
    done = cli("hierarchical", *words, "--link", "lin3", "--out", str(tmp_path))
    assert "rank 0" in done.stderr
    seen = cli("hierarchical", *words, "--link", "p2", "--out", str(tmp_path))
    assert "rank" not in seen.stderr
    last = [table(each, "curve").query("inner_steps == 1")["pca"].iloc[-1] for each in (done, seen)]
    assert last[1] > last[0] + 0.2


def test_a_users_link_is_learned_with_any_number_of_features(cli, tmp_path):
    link = "h2(z1) + h2(z2) - h2(z3) + z1*z2 + 0.3*h3(z3)"
    words = ["error", "--preset", "smoke", "--dims", "8", "--r", "3", "--link", link]
    words += ["--samples", "20000", "--methods", "net3,rf,oracle", "--m1", "300", "--json"]
    done = cli("hierarchical", *words, "--out", str(tmp_path))
    rows = table(done, "error").set_index("method")
    assert rows["test_error"]["oracle"] < rows["test_error"]["net3"] < rows["test_error"]["rf"]
    assert rows["test_error"]["net3"] < 0.2
    assert rows["samples"]["net3"] == rows["samples"]["rf"] == 40_000


def test_a_wide_second_layer_is_nearly_the_infinite_one(cli, tmp_path):
    words = ["width", "--preset", "smoke", "--m2", "20,20000,inf", "--n1", "20000", "--json"]
    done = cli("hierarchical", *words, "--out", str(tmp_path))
    rows = table(done, "width").query("inner_steps == 3")
    overlap = dict(
        zip(rows["m2"].map(lambda m2: str(m2).split(".")[0]), rows["overlap"], strict=True)
    )
    assert abs(overlap["20000"] - overlap["inf"]) < 0.1
    assert overlap["20"] < 0.6 * overlap["inf"]


def test_the_spectrum_holds_every_eigenvalue_and_all_the_mass(cli, tmp_path):
    words = ["spectrum", "--d", "8", "--n1", "500,20000", "--json"]
    rows = table(cli("hierarchical", *words, "--out", str(tmp_path)), "spectrum")
    first = rows[(rows["repeat"] == 0) & (rows["n1"] == 20_000)]
    assert len(first) == 35
    assert first["theta_mass"].sum() == pytest.approx(2)
    assert first["eigenvalue"].abs().is_monotonic_decreasing
    assert first["theta_mass"].iloc[:2].min() > 0.9


def test_one_sample_of_a_size_is_the_same_whatever_larger_sizes_follow(cli, tmp_path):
    words = ["error", "--preset", "smoke", "--methods", "net1,rf,krr", "--json"]
    short = cli("hierarchical", *words, "--samples", "300", "--out", str(tmp_path))
    long = cli("hierarchical", *words, "--samples", "300,900", "--out", str(tmp_path))
    columns = ["method", "test_error", "overlap", "tuned"]
    ours = table(short, "error").query("n1 == 300 and method != 'krr'")[columns]
    theirs = table(long, "error").query("n1 == 300 and method != 'krr'")[columns]
    pd.testing.assert_frame_equal(ours.reset_index(drop=True), theirs.reset_index(drop=True))
