"""A single-threaded process that makes attempts: it reads trials as lines of JSON and writes outcomes.

Between outcomes it writes numbers, the steps that the current attempt has taken. It ends when its input ends.
"""

import sys

import msgspec
import torch

from charrnn.study.attempts import Trial, attempt


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin.buffer:
        _send(attempt(msgspec.json.decode(line, type=Trial), _send))


def _send(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
