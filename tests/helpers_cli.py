"""Commands run in this process, and small runs for them to work on."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from charrnn.cli import main

NAMES = ["".join(random.Random(n).choices("abcdé", k=2 + n % 5)) for n in range(120)]


def invoke(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def succeed(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result


def fail(code: int, *arguments: str | Path, stdin: str | bytes | None = None) -> str:
    """The one line of an error that ends with this exit code, and with nothing on stdout."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    return line


def write_names(folder: Path) -> Path:
    path = folder / "names.txt"
    path.write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    return path


def train(root: Path, corpus: Path, *options: str | Path, steps: int = 4) -> dict[str, Any]:
    """Trains a tiny model and returns what `--json` says of it."""
    result = succeed(
        "train", corpus, "--checkpoints", root, "--json", "--quiet", "--seed", "1", "--threads", "1",
        "--hidden-size", "8", "--steps", str(steps), *options,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def json_lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def imported_by(code: str) -> set[str]:
    """The top-level packages that a fresh process has imported after `code`, printed to stderr."""
    report = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})), file=sys.stderr)"
    script = f"try:\n    {code}\nexcept SystemExit:\n    pass\n{report}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, input="ab\n")
    return set(json.loads(done.stderr.splitlines()[-1]))


def run_code(*arguments: str | Path) -> str:
    return f"import charrnn.cli; charrnn.cli.main({[str(argument) for argument in arguments]!r})"
