"""What charrnn does, seen from outside: recorded before a change of its shape, compared after it.

    python tests/behaviour.py record before.json
    ...                                             # the change
    python tests/behaviour.py record after.json
    python tests/behaviour.py compare before.json after.json        # --close 1e-6: numbers may differ by so much

Short seeded runs on one thread of every task, cell and way to end: the sha256 of the weights, and all that eval,
sample, score, predict, info and the studies print of them; bad inputs with their messages and exit codes. Figures
of time and memory are left out. Records of two machines differ, so none is kept in the repository.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

DATA = Path(__file__).resolve().parent.parent / "data"
UNSTEADY = re.compile("_per_second|^saved$|^directory$|peak_memory|seconds|elapsed|versions|created|host|modified")
"""Keys of JSON whose values differ from run to run."""

CELLS = [
    "tanh",
    "leaky",
    "skip",
    "lstm",
    "coupled_lstm",
    "peephole_lstm",
    "layer_norm_lstm",
    "gru",
    "min_gru",
    "min_lstm",
    "time_delay",
    "output_recurrent",
    "echo_state",
]
SMALL = "--hidden-size 12 --batch-size 4 --threads 1 --seed 1 -q --json"
FEW = "--steps 2 --threads 1 --seed 1"
SHORT = f"--steps 12 --eval-every 6 {SMALL}"


class Command(NamedTuple):
    arguments: str
    stdin: str = ""
    weights: str | None = None
    """The run whose weights are recorded after it."""


Group = list[Command]
"""Commands that follow one another in a folder of their own."""


# What is read ----------------------------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """Small texts and tables, and files that nobody should train on."""
    names = (DATA / "names.txt").read_text(encoding="utf-8").split()[:400]
    plays = (DATA / "tinyshakespeare.txt").read_text(encoding="utf-8")

    def write(name: str, lines: list[str]) -> None:
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    write("names.txt", names[:350])
    write("others.txt", [*names[350:], "", "Zoë", names[0]])
    (folder / "plays.txt").write_text(plays[:12_000], encoding="utf-8")
    (folder / "scene.txt").write_text(plays[500_000:502_000], encoding="utf-8")
    write("repeats.txt", [name for i, name in enumerate(names[:40]) for _ in range(1 + i % 9)])
    kinds = ["short" if len(name) < 6 else "long" for name in names]
    write("kinds.tsv", ["name\tkind\tsize", *(f"{n}\t{k}\t{len(n)}" for n, k in zip(names, kinds, strict=True))])
    write("upper.tsv", [f"{name}\t{name.upper()}" for name in names])
    write("turned.tsv", [f"{name}\t{name[::-1][:4]}" for name in names])
    write("turned3.tsv", [f"{name}\t{name[::-1][:4]}\t{k}" for name, k in zip(names, kinds, strict=True)])
    trees = [(a, b, c) for a in range(8) for b in range(8) for c in range(3)]
    write("trees.tsv", [f"{(a + b * c) % 5}\t( + ( {a} ( * ( {b} {c} ) ) ) )" for a, b, c in trees])
    write("nodes.tsv", [f"({(a + b) % 2} ({a % 2} w{a}) ({b % 2} w{b}))" for a, b, _ in trees])
    write("trees.txt", ["( + ( 1 2 ) )", "( * ( 3 ( + ( 4 5 ) ) ) )", "7"])
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text("\n\n\n", encoding="utf-8")
    (folder / "binary.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "latin1.txt").write_bytes("né\nZoë\n".encode("latin-1") * 50)
    write("ragged.tsv", ["name\tkind", "a\tb\tc", "d"])
    write("one.txt", ["a"])
    (folder / "bad.toml").write_text("hidden_size = 'many'\n", encoding="utf-8")
    (folder / "odd.toml").write_text("[what\n", encoding="utf-8")


# What is done ----------------------------------------------------------------------------------------------


def groups() -> Iterator[tuple[str, Group]]:
    yield from cells_and_stops()
    yield from generators()
    yield from tables()
    yield from studies()
    yield "helps", [Command(f"{name} -h") for name in COMMANDS]
    yield "bad inputs", bad_inputs()


def generator(train: str, sample: str = "--max-chars 60", probe: str = "others.txt") -> Group:
    """A run called r, evaluated, sampled from and asked to score."""
    return [
        Command(f"train {train} --name r", weights="r"),
        Command("eval r --json -q"),
        Command(f"sample r -n 5 --seed 3 --json -q {sample}"),
        Command(f"score r {probe} --json -q"),
    ]


def cells_and_stops() -> Iterator[tuple[str, Group]]:
    for cell in CELLS:
        for stop in ("eos", "halt", "length"):
            yield f"{cell} {stop}", generator(f"names.txt --cell {cell} --stop {stop} {SHORT}")
        stream = f"plays.txt --cell {cell} --split file --stop none --bptt-steps 20 {SHORT}"
        yield f"{cell} none", generator(stream, "--num-chars 40", "scene.txt")
        lines = f"plays.txt --cell {cell} --stop all --bptt-steps 20 --num-layers 2 {SHORT}"
        yield f"{cell} ordered", generator(lines, "--stop length --max-chars 60", "scene.txt")


def generators() -> Iterator[tuple[str, Group]]:
    options = {
        "dropout": "--num-layers 2 --dropout 0.2 --weight-dropout 0.1 --initial-state learned",
        "deep": "--input-depth 2 --transition-depth 2 --output-depth 2",
        "deep gru": "--cell gru --input-depth 2 --transition-depth 2 --output-depth 2 --stop length",
        "one-hot": "--embedding-size 0 --optimizer adam",
        "decay": "--weight-decay 0.2 --learning-rate 0.01 --grad-clip 0.1",
        "scheduled": "--scheduled-sampling 0.5",
        "scheduled halt": "--scheduled-sampling 0.5 --stop halt --stop length",
        "washout": "--washout 4 --order ordered --bptt-steps 10",
        "leak learned": "--cell leaky --leak-alpha learned",
        "leak range": "--cell leaky --leak-alpha 0:0.9",
        "skip only": "--cell skip --skip-delay 2,5 --remove-short",
        "reset before": "--cell gru --reset-gate before",
        "feedback": "--cell output_recurrent --feedback output",
        "delays": "--cell time_delay --delay-levels 2",
        "memory span": "--memory-span 50 --forget-bias 2",
        "reservoir": "--cell echo_state --spectral-radius 1.2 --input-scaling 0.5 --leak-alpha 0.3",
        "values": "--hold-out values --valid-fraction 0.2",
        "rows": "--hold-out rows --valid-fraction 0.2",
        "valid file": "--valid others.txt",
        "bfloat16 refused or not": "--precision float32",
    }
    for name, option in options.items():
        yield name, generator(f"names.txt {option} {SHORT}")
    yield "repeats", generator(f"repeats.txt {SHORT}")
    yield (
        "paragraphs",
        generator(f"plays.txt --stop halt --bptt-steps 20 {SHORT}", "--prompt ROMEO --max-chars 60"),
    )
    yield (
        "drawing",
        [
            Command(f"train names.txt --stop all --name r {SHORT}", weights="r"),
            *(
                Command(f"sample r -n 6 --seed 5 -q --json --stop {stop} {option}")
                for stop in ("eos", "halt", "length")
                for option in (
                    "",
                    "--temperature 0",
                    "--temperature 0.7 --top-k 5",
                    "--top-p 0.8 --unique",
                    "--min-p 0.1 --novel",
                    "--prompt an --max-chars 30",
                    "--num-chars 6",
                )
            ),
            Command("sample r -n 4 --seed 5 -q"),
            Command("sample r -n 4 --seed 5 -q --print0"),
            Command("score r -q", stdin="Anna\n\nZ\n"),
            *(Command(f"score r others.txt --json -q --stop {stop}") for stop in ("eos", "halt", "length")),
            Command("eval r --json -q --stop halt --part valid"),
            Command("eval r others.txt --json -q"),
            Command("eval r -q"),
            Command("eval r --max-bits-per-char 0.1 -q"),
            Command("info r --toml"),
            Command("info r --json"),
            Command("info r"),
        ],
    )
    yield (
        "resumed",
        [
            Command(f"train names.txt --name r --steps 8 --eval-every 4 {SMALL}", weights="r"),
            Command("train --resume --name r -q --json", weights="r"),
            Command(f"train others.txt --init-from r --name child {SHORT}", weights="child"),
            Command(f"train names.txt --epochs 1 --name whole {SMALL}", weights="whole"),
            Command(
                "train names.txt --steps 6 --name plain --batch-size 4 --threads 1 --seed 1 -q", weights="plain"
            ),
            Command(
                f"train names.txt --patience 1 --steps 20 --eval-every 2 --name patient {SMALL}", weights="patient"
            ),
            Command("eval --compare r child -q --json"),
            Command("sample r -n 3 --seed 1 -q --checkpoint last"),
        ],
    )


def tables() -> Iterator[tuple[str, Group]]:
    for mode in ("add", "init", "both"):
        for stop in ("eos", "halt", "length"):
            train = (
                f"kinds.tsv --context kind --context size --text-column name --context-mode {mode} --stop {stop}"
            )
            yield (
                f"given {mode} {stop}",
                [
                    Command(f"train {train} --name r {SHORT}", weights="r"),
                    Command("eval r --json -q"),
                    Command("sample r -n 4 --seed 2 --given kind=short --given size=4 --json -q"),
                    Command("score r others.txt --given kind=short --given size=4 --json -q"),
                ],
            )
    for stop in ("eos", "length"):
        yield (
            f"Bayes {stop}",
            [
                Command(f"train kinds.tsv --context kind --text-column name --stop {stop} --name r {SHORT}"),
                Command("predict r others.txt -n 2 --json -q"),
                Command("sample r -n 4 --seed 2 --given long -q"),
            ],
        )
    text = "kinds.tsv --task classify --text-column name"
    labels = {
        "classify": "--label-column kind",
        "classify number": "--label-column size:number",
        "classify forward mean": "--label-column kind --direction forward --pooling mean --cell gru",
        "classify backward max": "--label-column kind --direction backward --pooling max --cell min_gru",
        "classify more": "--label-column kind --lm-weight 0.5 --symbol-dropout 0.1 --dropout 0.2 --num-layers 2",
        "classify deep": "--label-column kind --input-depth 2 --output-depth 2 --transition-depth 2 --cell tanh",
    }
    for name, option in labels.items():
        yield name, predictor(f"{text} {option}", "-n 2")
    for name, option in {
        "tag": "",
        "tag feedback": "--feedback target",
        "tag forward": "--direction forward --cell gru --num-layers 2",
    }.items():
        yield name, predictor(f"upper.tsv --task tag {option}", "-n 2")
    for attention in ("additive", "dot", "none"):
        for stop in ("eos", "halt", "length"):
            train = f"turned.tsv --task transduce --attention {attention} --stop {stop}"
            group = predictor(train, "-n 2 --beam 3")
            group.append(Command("predict r others.txt --sample -n 2 --seed 4 --temperature 0.8 --json -q"))
            if attention != "none":
                group.append(Command("predict r --attention -q", stdin="Anna\n"))
            yield f"transduce {attention} {stop}", group
    yield (
        "transduce given",
        [
            Command(
                f"train turned3.tsv --task transduce --context 3 --num-layers 2 --name r {SHORT}", weights="r"
            ),
            Command("eval r --json -q"),
            Command("predict r others.txt --given short --json -q"),
        ],
    )
    for composition in ("tanh", "tree_lstm", "child_sum"):
        for leaves in ("symbols", "characters"):
            train = (
                f"trees.tsv --task tree --label-column 1:category --composition {composition} --leaves {leaves}"
            )
            yield f"tree {composition} {leaves}", predictor(train, "-n 2", "trees.txt")
    yield "tree number", predictor("trees.tsv --task tree --label-column 1:number", "", "trees.txt")
    yield "tree nodes", predictor("nodes.tsv --task tree --node-labels", "", "nodes.tsv")


def predictor(train: str, predict: str, probe: str = "others.txt") -> Group:
    return [
        Command(f"train {train} --name r {SHORT}", weights="r"),
        Command("eval r --json -q"),
        Command("eval r -q"),
        Command(f"predict r {probe} {predict} --json -q"),
        Command(f"predict r {probe} {predict} -q"),
    ]


def studies() -> Iterator[tuple[str, Group]]:
    yield "cells", [Command("cells --json"), Command("cells -v")]
    yield "drawings", [Command(f"cells {cell}") for cell in CELLS]
    yield "listops", [Command("study listops -n 20"), Command("study listops -n 5 --brackets random --json")]
    run = f"train plays.txt --bptt-steps 20 --num-layers 2 --name r {SHORT}"
    yield (
        "gradients",
        [
            Command(run),
            Command("study gradients r --length 10 --rows 2 --json -q"),
            Command("study gradients r --length 10 --rows 2 -q"),
            *(
                Command(f"study gradients --cell {cell} --hidden-size 8 plays.txt --length 8 --rows 2 --json -q")
                for cell in CELLS
            ),
        ],
    )
    yield (
        "states",
        [
            Command(run),
            Command("study states r --top 2 --json -q"),
            Command("study states r scene.txt --feature word --what output -q"),
        ],
    )
    problems = ("adding", "copying", "temporal_order", "brackets")
    span = "--span 5 --seeds 1 --steps 30 --jobs 1 --hidden-size 8 --cell tanh --cell lstm --json -q"
    more = "--variant 'flow: --cell tanh --flow-penalty 1 --init orthogonal' --variant 'leaky: --cell leaky'"
    yield (
        "span",
        [Command(f"study span --problem {problem} {span} --results {problem}") for problem in problems]
        + [Command(f"study span {more} --span 5 --seeds 1 --steps 20 --jobs 1 --json -q --results more")],
    )
    compare = f"study compare names.txt --cell tanh --cell gru --jobs 1 --json -q -- {SHORT}"
    yield (
        "compare",
        [Command(compare.replace("-q --json", "").replace("--threads 1 ", "").replace("--seed 1 ", ""))],
    )


COMMANDS = ["", "train", "sample", "eval", "score", "predict", "info", "cells", "study"] + [
    f"study {name}" for name in ("listops", "gradients", "compare", "states", "span")
]


def bad_inputs() -> Group:
    train = (
        "missing.txt",
        "empty.txt",
        "blank.txt",
        "binary.bin",
        "latin1.txt",
        "one.txt",
        "names.txt --minutes 0",
        "names.txt --minutes 1 --steps 5",
        "names.txt --cell rnn",
        "names.txt --hidden-size 0",
        "names.txt --hidden-size many",
        "names.txt --dropout 1",
        "names.txt --stop never",
        "names.txt --stop none --stop eos",
        "names.txt --leak-alpha 0.5",
        "names.txt --cell leaky --leak-alpha 2",
        "names.txt --cell skip --skip-delay 0",
        "names.txt --task classify",
        "names.txt --attention dot",
        "names.txt --composition tanh",
        "names.txt --label-column kind",
        "names.txt --context kind",
        "names.txt --config missing.toml",
        "names.txt --config bad.toml",
        "names.txt --config odd.toml",
        "names.txt --encoding klingon",
        "names.txt --valid missing.txt",
        "names.txt --valid-fraction 0.9 --test-fraction 0.9",
        "names.txt --init-from nothing",
        "names.txt --resume",
        "names.txt --no-such-option",
        "names.txt --device tpu",
        "names.txt --name ../r",
        "kinds.tsv --context nothing",
        "kinds.tsv --task classify --label-column nothing",
        "kinds.tsv --task classify --label-column name:number --text-column kind",
        "ragged.tsv --task tag",
        "turned.tsv --task tag",
        "turned.tsv --task tree",
        "kinds.tsv --task transduce --stop none",
        "",
    )
    made = "train names.txt --stop eos --name r"
    return [
        *(Command(f"train {arguments} {'' if '--minutes' in arguments else FEW}") for arguments in train),
        *(Command(command) for command in ("sample", "eval", "score", "predict", "info nothing", "what")),
        Command(f"{made} {SHORT}"),
        Command(f"{made} {SHORT}"),
        *(
            Command(command)
            for command in (
                "sample r --stop halt",
                "sample r --temperature -1",
                "sample r --temperature nan",
                "sample r --top-p 0",
                "sample r --prompt @missing.txt",
                "sample r --given short",
                "sample r -n 0",
                "sample r --num-chars 5 --max-chars 4",
                "sample r --prompt ЯЯ",
                "sample r --unique -n 10 --max-chars 1 --seed 1",
                "sample nothing",
                "sample r --checkpoint 77",
                "eval r missing.txt",
                "eval r empty.txt",
                "eval r --part nothing",
                "eval r --beam 3",
                "score r missing.txt",
                "score r binary.bin",
                "score r names.txt --jsonl",
                "predict r names.txt",
                "study gradients r empty.txt",
                "study states r --unit 9:9",
                "study span --problem nothing",
                "cells nothing",
                "study compare missing.txt",
                "train --resume --name r --hidden-size 13",
            )
        ),
    ]


# How it is recorded ----------------------------------------------------------------------------------------


def call(arguments: list[str], folder: Path, stdin: str) -> tuple[int, str, str]:
    """Runs charrnn in a process of its own, forked from this one, which has loaded its libraries already."""
    out, err, given = (folder / name for name in (".stdout", ".stderr", ".stdin"))
    given.write_text(stdin, encoding="utf-8")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            for number, path, flags in ((0, given, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
                os.dup2(os.open(path, flags | (os.O_CREAT | os.O_TRUNC if number else 0)), number)
            sys.argv = ["charrnn", *arguments]
            runpy.run_module("charrnn", run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    read = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    return os.waitstatus_to_exitcode(status), read[0], read[1]


def steady(value: Any) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if not UNSTEADY.search(key)}
    return [steady(item) for item in value] if isinstance(value, list) else value


def text_of(output: str, folder: Path) -> str:
    lines = []
    for line in output.replace(str(folder), ".").splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            lines.append(re.sub(r"[\d,.]+ (chars/s|MB|GiB|MiB|s\b)|\d+:\d\d|\d{4}-\d\d-\d\d", "…", line))
        else:
            lines.append(json.dumps(steady(read)))
    whole = "\n".join(lines)
    with suppress(ValueError):  # Some JSON is printed over several lines.
        return json.dumps(steady(json.loads(output)))
    return whole


def weights_of(run: Path) -> dict[str, str]:
    """The sha256 of a run's weights, and its losses."""
    sums = {path.parent.name: path.read_bytes() for path in sorted(run.glob("checkpoint-*/model.safetensors"))}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {name: hashlib.sha256(data).hexdigest() for name, data in sums.items()} | {
        "metrics": json.dumps(steady(rows))
    }


def recorded(name: str, group: Group, inputs: Path, root: Path) -> dict[str, Any]:
    import shlex

    folder = root / re.sub(r"\W+", "-", name)
    shutil.copytree(inputs, folder)
    found: dict[str, Any] = {}
    for number, command in enumerate(group):
        code, out, err = call(shlex.split(command.arguments), folder, command.stdin)
        figures: dict[str, Any] = {"code": code, "stdout": text_of(out, folder), "stderr": text_of(err, folder)}
        if command.weights:
            with suppress(OSError):
                figures["weights"] = weights_of(folder / "checkpoints" / command.weights)
        found[f"{name} | {number} | {command.arguments}"] = figures
    shutil.rmtree(folder)
    return found


def record(chosen: Callable[[str], bool]) -> dict[str, Any]:
    """All groups, half of them by each of two processes."""
    os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONHASHSEED": "0"}
    os.environ.pop("FORCE_COLOR", None)
    import click  # noqa: F401
    import numpy  # noqa: F401
    import rich.console  # noqa: F401
    import torch._dynamo  # noqa: F401

    whole = [(name, group) for name, group in groups() if chosen(name)]
    with TemporaryDirectory() as top:
        root, inputs = Path(top).resolve(), Path(top).resolve() / "inputs"
        inputs.mkdir()
        write_inputs(inputs)
        workers = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                found: dict[str, Any] = {}
                for name, group in whole[number::2]:
                    found |= recorded(name, group, inputs, root)
                (root / f"found-{number}").write_text(json.dumps(found), encoding="utf-8")
                os._exit(0)
            workers.append(child)
        for child in workers:
            os.waitpid(child, 0)
        both = [json.loads((root / f"found-{number}").read_text(encoding="utf-8")) for number in range(2)]
    return both[0] | both[1]


NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def same(a: str, b: str, close: float) -> bool:
    """Whether two lines are alike, but for what fractions differ by, relative to the larger one or to 1."""
    if a == b or not close:
        return a == b
    pairs = zip(*(map(float, NUMBER.findall(line)) for line in (a, b)), strict=False)
    near = all(abs(x - y) <= close * max(abs(x), abs(y), 1.0) for x, y in pairs)
    return near and NUMBER.split(a) == NUMBER.split(b)


def compare(before: dict[str, Any], after: dict[str, Any], close: float) -> int:
    """Prints what differs; how many commands do."""
    different = 0
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        parts = dict.fromkeys([*(old or {}), *(new or {})])
        lines = {part: [str((side or {}).get(part, "")).splitlines() for side in (old, new)] for part in parts}
        unlike = [
            part
            for part, (a, b) in lines.items()
            if len(a) != len(b) or not all(same(x, y, close) for x, y in zip(a, b, strict=True))
        ]
        if not unlike:
            continue
        different += 1
        print(f"--- {key}")
        if old is None or new is None:
            print("    only before" if new is None else "    only after")
            continue
        for part in unlike:
            print(f"  {part}")
            for line in list(difflib.unified_diff(*lines[part], n=0, lineterm=""))[2:22]:
                print("   ", line[:300])
    print(f"{different} of {len(before)} commands differ")
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("record", "compare"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--close", type=float, default=0.0, help="how much numbers may differ")
    parser.add_argument("--only", default="", help="groups whose name matches this")
    a = parser.parse_args()
    if a.verb == "compare":
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in a.files)
        sys.exit(1 if compare(before, after, a.close) else 0)
    found = record(lambda name: re.search(a.only, name) is not None)
    a.files[0].write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} commands")


if __name__ == "__main__":
    main()
