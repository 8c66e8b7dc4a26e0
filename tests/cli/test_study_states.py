"""`charrnn study states`: which units of a run follow what, as a table, colours, signs, JSON and a picture."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import fail, imported_by, invoke, run_code, succeed, train, write_names
from rich.console import Console

import charrnn
from charrnn.cli import activations as display
from charrnn.cli.activations import NEGATIVE, POSITIVE, SIGNS, Shown, print_activations
from charrnn.cli.picture import new_figure
from charrnn.cli.study_states import FEATURE_NAMES
from charrnn.errors import UsageError
from charrnn.study import states

TEXT = "".join(f'He ({k}) said "abc {k}" and\nwent on.\n' for k in range(40))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: a stream of lstm, names with all ways to end, and names given a column."""
    folder = tmp_path_factory.mktemp("states")
    runs = folder / "checkpoints"
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    train(runs, text, "--name", "text", "--split", "file", "--stop", "none", "--num-layers", "2")
    train(runs, write_names(folder), "--name", "names", "--stop", "all", "--cell", "gru")
    table = folder / "table.csv"
    table.write_text("word,kind\n" + "".join(f"a{k % 7}b {k % 3},{'xy'[k % 2]}\n" for k in range(60)))
    train(runs, table, "--name", "given", "--context", "kind", "--text-column", "word")
    return runs


def study(root: Path, *arguments: str | Path, stdin: str | bytes | None = None):
    return succeed("study", "states", *arguments, "--checkpoints", root, stdin=stdin)


def refuse(code: int, root: Path, *arguments: str | Path, stdin: str | bytes | None = None) -> str:
    return fail(code, "study", "states", *arguments, "--checkpoints", root, stdin=stdin)


def report(root: Path, *arguments: str | Path, stdin: str | bytes | None = None) -> dict:
    return json.loads(study(root, *arguments, "--json", stdin=stdin).stdout)


def test_the_features_of_the_help_are_those_that_there_are():
    assert FEATURE_NAMES == states.FEATURE_NAMES


def test_json_has_the_figures_of_the_library(root):
    found = report(root, "text", "-", "--top", "2", stdin=TEXT)
    assert found["schema"] == "charrnn.study.states/1"
    assert (found["run"], found["data"], found["stop"], found["what"]) == (
        "text", "standard input", "none", "memory",
    )  # fmt: skip
    assert (found["layers"], found["num_chars"], found["num_chosen"]) == ([8, 8], len(TEXT), len(TEXT) // 2)
    saved = charrnn.load("text", checkpoints=root).saved
    read = states.activations(saved, states.sequences_of(TEXT, "file"), "none", "memory")
    for feature, expected in zip(found["features"], states.rank(read, top=2), strict=True):
        assert [(u["layer"], u["unit"]) for u in feature["units"]] == [(u.layer, u.unit) for u in expected.units]
        for unit, other in zip(feature["units"], expected.units, strict=True):
            assert unit["correlation"] == pytest.approx(other.correlation, abs=1e-9)
            assert (unit["auc"] is not None) == feature["binary"]
    assert {f["feature"]: len(f["units"]) for f in found["features"]}["quotes"] == 2
    assert {f["feature"]: len(f["units"]) for f in found["features"]}["curly"] == 0


def test_json_of_a_unit_has_what_it_was_at_each_character(root):
    found = report(root, "text", "-", "--unit", "1:3", "--what", "output", stdin="He (1) said")
    own = found["activations"]
    assert (own["layer"], own["unit"], own["text"], len(own["values"])) == (1, 3, "He (1) said", 11)
    saved = charrnn.load("text", checkpoints=root).saved
    read = states.activations(saved, states.sequences_of("He (1) said", "file"), "none", "output")
    np.testing.assert_allclose(own["values"], read.values[:, 8 + 3], atol=1e-6)
    assert found["what"] == "output"


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_the_held_out_part_of_names_with_each_way_to_end(root, stop):
    found = report(root, "names", "--stop", stop)
    assert (found["stop"], found["what"]) == (stop, "output")
    assert found["data"] in ("test part", "valid part")
    assert found["num_chars"] == found["total_chars"] > 10
    assert next(f for f in found["features"] if f["feature"] == "to_end")["units"]


def test_the_table_fits_and_is_followed_by_passages_with_signs(root):
    lines = study(root, "text", "-", "--passage", "50", stdin=TEXT).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(k for k, line in enumerate(lines) if line.startswith("FEATURE"))
    assert lines[head].split() == ["FEATURE", "MEAN", "UNIT", "FIRST", "HALF", "SECOND", "HALF", "AUC"]
    assert re.fullmatch(r"position +\d+\.\d\d +[01]:[0-7] +[+-]0\.\d{3} +[+-]0\.\d{3} +- *", lines[head + 1])
    assert re.search(r"^quotes +\d+\.\d% +[01]:[0-7] +([+-]0\.\d{3} +){2}[01]\.\d{3} *$", "\n".join(lines), re.M)
    titles = [line for line in lines if re.match(r"Unit [01]:[0-7] follows \w+, from -", line)]
    assert 1 <= len(titles) <= 3
    assert lines[-1].startswith("Signs: ")
    under = lines[lines.index(titles[0]) + 2]
    assert under
    assert set(under) <= set(SIGNS)


def test_one_feature_and_as_many_units_as_asked_for(root):
    found = report(root, "text", "-", "--feature", "round", "--top", "100", stdin=TEXT)
    (feature,) = found["features"]
    assert {(u["layer"], u["unit"]) for u in feature["units"]} == {(i, k) for i in (0, 1) for k in range(8)}
    strengths = [abs(u["found"]) for u in feature["units"]]
    assert strengths == sorted(strengths, reverse=True)


def test_no_more_is_read_than_asked_for(root, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(TEXT * 2, encoding="utf-8")
    for arguments, stdin in ((("text", path), None), (("text", "-"), TEXT * 2)):
        result = study(root, *arguments, "--json", "--max-chars", "300", stdin=stdin)
        found = json.loads(result.stdout)
        assert (found["num_chars"], found["total_chars"]) == (300, None)
        assert "read the first 300 characters of more (--max-chars)" in result.stderr
    whole = json.loads(study(root, "text", path, "--json", "--max-chars", str(len(TEXT) * 2)).stdout)
    assert whole["total_chars"] == whole["num_chars"] == len(TEXT) * 2


class Endless(io.RawIOBase):
    """Standard input that never ends; of it no more may be read than the characters wanted can take."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self.taken += len(buffer)
        buffer[:] = b"a" * len(buffer)
        return len(buffer)


def test_standard_input_need_not_end(root):
    endless = Endless()
    result = invoke("study", "states", "text", "-", "--unit", "0:0", "--max-chars", "200", "--checkpoints", root,
                    stdin=io.BufferedReader(endless))  # fmt: skip
    assert result.exit_code == 0
    assert 200 <= endless.taken < 100_000


def test_characters_that_are_unknown_are_said(root):
    result = study(root, "text", "-", "--unit", "0:0", stdin="é(é) a")
    assert "2 characters unknown to the model" in result.stderr
    assert "2 characters" not in study(root, "text", "-", "--unit", "0:0", "--quiet", stdin="é(é) a").stderr


@pytest.mark.parametrize("text", ["", "\ufeff"])
def test_an_empty_text_is_refused(root, text):
    assert "empty" in refuse(3, root, "text", "-", stdin=text)


@pytest.mark.parametrize("text", ["a", "aaaa", " "])
def test_a_text_in_which_nothing_varies_is_refused_but_a_unit_of_it_is_shown(root, text):
    assert "name a longer text" in refuse(3, root, "text", "-", "--feature", "quotes", stdin=text)
    found = report(root, "text", "-", "--unit", "0:1", stdin=text)
    assert len(found["activations"]["values"]) == len(text)


def test_one_character_and_empty_lines(root):
    assert "name a longer text" in refuse(3, root, "text", "-", stdin="a")
    assert "empty" in refuse(3, root, "names", "-", stdin="\n\n")


@pytest.mark.parametrize(("most", "has_end"), [(4, False), (8, True)])
def test_only_a_text_that_was_read_to_its_end_ends(root, most, has_end):
    """Of `ab`, `cde`, `f`: a sequence that was cut is told no count and has no end."""
    arguments = ("names", "-", "--unit", "0:0", "--feature", "to_end", "--max-chars", str(most))
    found = report(root, *arguments, stdin="ab\ncde\nf")
    assert found["activations"]["text"] == "abcdef"[:most]
    assert found["total_chars"] == (6 if has_end else None)


def test_bad_text(root, tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"ab\0cd" * 100)
    assert "NUL byte" in refuse(3, root, "text", binary)
    assert "NUL byte" in refuse(3, root, "text", "-", stdin=binary.read_bytes())
    assert "byte offset 2" in refuse(3, root, "text", "-", stdin=b"ab\xff")
    assert "neither a run" in refuse(3, root, tmp_path / "missing")


@pytest.mark.parametrize("unit", ["0", "a:b", "0:-1", "1:2:3", "", "0:٣"])
def test_a_unit_that_is_none_is_refused(root, unit):
    assert "expected LAYER:UNIT" in refuse(2, root, "text", "-", "--unit", unit, stdin="ab")


def test_what_the_model_has_not_is_refused(root):
    assert "it has 0:0 to 0:7, 1:0 to 1:7" in refuse(2, root, "text", "-", "--unit", "2:0", stdin="ab")
    assert "the cell gru has no memory" in refuse(2, root, "names", "--what", "memory")
    assert "has no --stop eos" in refuse(2, root, "text", "--stop", "eos")
    assert "not conditioned" in refuse(2, root, "names", "--given", "x")
    assert "99" in refuse(4, root, "text", "--checkpoint", "99")


def test_a_conditioned_run_is_given_what_its_text_is_given(root):
    assert "--given VALUE is missing" in refuse(2, root, "given", "-", stdin="a1b 2\n")
    held_out = report(root, "given")
    assert held_out["num_chars"] > 0
    one, other = (
        report(root, "given", "-", "--given", kind, "--unit", "0:0", stdin="a1b 2\na2\n")["activations"]["values"]
        for kind in "xy"
    )
    assert len(one) == len(other) == 7
    assert not np.allclose(one, other, atol=1e-4)


def printed(passage: Shown, **settings) -> str:
    where = Console(width=80, markup=False, emoji=False, highlight=False, **settings)
    with where.capture() as captured:
        print_activations(where, passage)
    return captured.get()


PASSAGE = Shown(
    "a\tb\nc\x1bdé世", [False] * 6 + [True, False, False], [0.0, 1.0, -1.0, 0.3, -0.3, 0.7, 0.1, 0.5, -0.9]
)


def test_signs_stand_under_the_characters():
    lines = printed(PASSAGE, color_system=None).splitlines()
    assert [line.rstrip() for line in lines] == ["a⇥b↵", " #=+", "c\\x1b", "-####", "dé世", " +=="]


def test_colours_are_behind_the_characters():
    shown = printed(PASSAGE, color_system="truecolor", force_terminal=True, no_color=False)
    assert "\x1b[30;48;2;255;255;255ma" in shown
    assert f"48;2;{';'.join(map(str, POSITIVE))}m⇥" in shown
    assert f"48;2;{';'.join(map(str, NEGATIVE))}mb" in shown
    assert "\x1bd" not in shown  # An escape of the text steers nothing.
    assert printed(PASSAGE, color_system="truecolor", force_terminal=True, no_color=True) == printed(
        PASSAGE, color_system=None
    )


def test_colour_is_for_terminals_that_want_it(root, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    arguments = ("text", "-", "--unit", "0:0")
    assert "\x1b[" in study(root, *arguments, stdin="ab (c)").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    plain = study(root, *arguments, stdin="ab (c)").stdout
    assert "48;" not in plain
    assert "Signs: " in plain


def test_a_long_line_is_broken():
    lines = printed(Shown("x" * 200, [False] * 200, [1.0] * 200), color_system=None).splitlines()
    assert [len(line) for line in lines] == [78, 78, 78, 78, 44, 44]


@pytest.mark.parametrize("suffix", ["png", pytest.param("svg", marks=pytest.mark.slow)])
def test_a_picture(root, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"units.{suffix}"
    arguments = ("text", "-", "--feature", "quotes", "--passage", "50", "--picture", path)
    study(root, *arguments, stdin=TEXT.replace("abc", "$b$"))
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[suffix])


def test_the_picture_holds_the_activations():
    pytest.importorskip("matplotlib")
    figure = new_figure()
    values = np.linspace(-1.0, 1.0, 100)
    passages = [("one", [Shown("x" * 100, [False] * 100, v.tolist()) for v in (values, -values)])]
    with pytest.raises(UsageError, match=r"--picture a\.xyz"):
        display.draw_activations(figure, Path("a.xyz"), passages, ["0:1", "0:2"])
    drawn = np.concatenate([axes.images[0].get_array() for axes in figure.axes], axis=1)
    np.testing.assert_allclose(drawn, [values, -values])


def test_without_matplotlib_a_picture_is_refused_before_anything_is_read(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install matplotlib" in refuse(2, root, "text", "--picture", "a.png")


def test_a_picture_that_cannot_be_written(root, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "none" / "a.png"
    arguments = ("text", "-", "--unit", "0:0", "--picture", path, "--checkpoints", root)
    result = invoke("study", "states", *arguments, stdin="ab")
    assert result.exit_code == 3
    assert "a.png: cannot be written" in result.stderr.splitlines()[-1]


def test_no_torch_is_imported(root):
    modules = imported_by(run_code("study", "states", "text", "--unit", "0:0", "--checkpoints", root))
    assert "torch" not in modules
    assert "numpy" in modules
