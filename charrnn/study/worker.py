"""A process of one thread that makes attempts: trials as lines of JSON come in, and outcomes go out.

Between them numbers go out, the steps that the present attempt has taken. It ends with its input.
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
