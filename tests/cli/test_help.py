"""Help, version, and what they do not import."""

import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from helpers_cli import imported_by, invoke, run_code, succeed

import charrnn
from charrnn.cli import main, study
from charrnn.cli.group import COMMANDS, LazyGroup

CONTEXT = click.Context(main, info_name="charrnn")


def commands(group: LazyGroup, before: str = "") -> Iterator[tuple[str, str, click.Command]]:
    """Name, line of the list and command of each that is no group."""
    for name, line in group.lines.items():
        found = group.get_command(CONTEXT, name)
        if isinstance(found, LazyGroup):
            yield from commands(found, f"{before}{name} ")
        else:
            assert found is not None
            yield f"{before}{name}", line, found


LINES = {name: line for name, line, _ in commands(main)}
FOUND = {name: command for name, _, command in commands(main)}


def test_version():
    assert succeed("--version").stdout == f"charrnn {charrnn.__version__}\n"


@pytest.mark.parametrize(
    ("group", "lines", "flag"),
    [((), COMMANDS, "-h"), ((), COMMANDS, "--help"), (("study",), study.COMMANDS, "-h")],
)
def test_a_group_lists_every_command(group, lines, flag):
    shown = succeed(*group, flag).stdout
    for name, line in lines.items():
        assert any(text.split() == [name, *line.split()] for text in shown.splitlines())


def test_a_group_in_the_list_has_the_help_of_its_line_and_an_example():
    assert (study.command.help or "").splitlines()[0] == COMMANDS["study"]
    assert "Examples:\n    charrnn study " in succeed("study", "-h").stdout
    assert "no command 'x'" in invoke("study", "x").stderr


@pytest.mark.parametrize("group", [(), ("study",)])
def test_without_arguments_the_help_is_shown_as_an_error(group):
    result = invoke(*group)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("name", FOUND)
def test_a_commands_help_begins_with_the_line_of_the_list_and_has_an_example(name):
    command = FOUND[name]
    assert (command.help or "").splitlines()[0] == LINES[name]
    shown = succeed(*name.split(), "-h").stdout
    assert f"      charrnn {name}" in (command.help or "")
    assert "Examples:\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", FOUND)
def test_every_option_has_help_and_a_place(name):
    short = {flag for parameter in FOUND[name].params for flag in parameter.opts}
    shown = succeed(*name.split(), "--help-all" if "--help-all" in short else "-h").stdout
    for parameter in FOUND[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            for flag in parameter.opts:
                assert flag in shown


@pytest.mark.parametrize("name", FOUND)
def test_every_command_has_the_common_options(name):
    flags = {flag for parameter in FOUND[name].params for flag in parameter.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose", "--checkpoints", "--debug"} <= flags


@pytest.mark.parametrize("name", FOUND)
def test_the_examples_can_be_parsed(name):
    """Every example that begins with charrnn names options that there are, with values that they take."""
    examples = [
        line.strip() for line in (FOUND[name].help or "").splitlines() if line.startswith("      charrnn ")
    ]
    assert examples
    for example in examples:
        words = shlex.split(example.partition("|")[0].partition(">")[0])
        named = next(other for other in FOUND if words[1 : 1 + len(other.split())] == other.split())
        FOUND[named].make_context(named, words[1 + len(named.split()) :])


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("sample", "-h"), ("train", "-h"), ("study", "-h")]
)
def test_help_imports_nothing_heavy(arguments):
    assert imported_by(run_code(*arguments)).isdisjoint({"numpy", "torch", "rich"})


def test_python_m_charrnn():
    done = subprocess.run(
        [sys.executable, "-m", "charrnn", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"charrnn {charrnn.__version__}\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["charrnn", "s"], {"sample", "score", "study"}),
        (["charrnn", "study", "l"], {"listops"}),
        (["charrnn", "train", "--cell", "g"], {"gru"}),
        (["charrnn", "eval", "--checkpoint", ""], {"best", "last"}),
    ],
)
def test_completion(words, wanted, monkeypatch):
    assert complete(words, monkeypatch) == wanted


def complete(words, monkeypatch):
    monkeypatch.setenv("_CHARRNN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    result = invoke()
    return {line.split(",")[1] for line in result.stdout.splitlines()}


def test_completion_of_runs(tmp_path, monkeypatch):
    for name in ("names", "plays"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text('{"schema": "charrnn.run/1"}')
    assert complete(["charrnn", "sample", "--checkpoints", str(tmp_path), "na"], monkeypatch) == {"names"}


def test_the_short_help_of_train_fits_two_screens_and_the_long_one_has_the_rest():
    short, long = (succeed("train", flag).stdout for flag in ("-h", "--help-all"))
    assert len(short.splitlines()) < 80
    for flag in ("--minutes", "--hidden-size", "--stop", "--name", "--resume"):
        assert flag in short
    assert "--weight-decay" not in short
    assert "--weight-decay" in long
    assert max(map(len, long.splitlines())) <= 80
