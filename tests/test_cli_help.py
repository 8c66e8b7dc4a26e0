"""Help, version, and what they do not import."""

import subprocess
import sys

import click
import pytest
from helpers_cli import imported_by, invoke, run_code, succeed

import charrnn
from charrnn.cli import main
from charrnn.cli.group import COMMANDS

CONTEXT = click.Context(main, info_name="charrnn")
FOUND = {name: main.get_command(CONTEXT, name) for name in COMMANDS}


def test_version():
    assert succeed("--version").stdout == f"charrnn {charrnn.__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_group_lists_every_command(flag):
    shown = succeed(flag).stdout
    for name, line in COMMANDS.items():
        assert any(text.split() == [name, *line.split()] for text in shown.splitlines())


def test_without_arguments_the_help_is_shown_as_an_error():
    result = invoke()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_begins_with_the_line_of_the_list_and_has_an_example(name):
    command = FOUND[name]
    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name]
    shown = succeed(name, "-h").stdout
    assert f"      charrnn {name}" in (command.help or "")
    assert "Examples:\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_a_place(name):
    shown = succeed(name, "-h").stdout
    for parameter in FOUND[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            for flag in parameter.opts:
                assert flag in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name):
    flags = {flag for parameter in FOUND[name].params for flag in parameter.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose", "--checkpoints", "--debug"} <= flags


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_can_be_parsed(name):
    """Every example that begins with charrnn names options that there are, with values that they take."""
    examples = [
        line.strip() for line in (FOUND[name].help or "").splitlines() if line.startswith("      charrnn ")
    ]
    assert examples
    for example in examples:
        words = example.partition("|")[0].partition(">")[0].replace('"', "").split()
        command = main.get_command(CONTEXT, words[1])
        command.make_context(words[1], words[2:])


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("sample", "-h"), ("train", "-h")])
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
        (["charrnn", "s"], {"sample", "score"}),
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
