"""The edit distance of two sequences of symbols, and an alignment that attains it.

Symbols are characters, tokens or numbers; all that counts is whether two are equal. An insertion, a deletion and
a substitution cost one each (Levenshtein).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Symbols = Sequence[int | str]


def edit_distance(a: Symbols, b: Symbols) -> int:
    """The least number of insertions, deletions and substitutions that turn `a` (M,) into `b` (N,).

    O(M N) time, O(M + N) memory.
    """
    for row in _rows(a, b):
        last = row
    return int(last[-1])


def align(a: Symbols, b: Symbols) -> list[tuple[int | None, int | None]]:
    """One best alignment, as pairs (i, j) in order: a[i] is aligned with b[j].

    Each index occurs once; (i, None) is a[i] deleted, (None, j) is b[j] inserted. Of several best alignments, it
    is the one that, from the end, prefers pairs to deletions and deletions to insertions. O(M N) memory.
    """
    cost = [row.tolist() for row in _rows(a, b)]
    i, j = len(a), len(b)
    pairs: list[tuple[int | None, int | None]] = []
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _rows(a: Symbols, b: Symbols) -> Iterator[NDArray[np.int64]]:
    """The table of D[i, j] = edit distance of a[:i] and b[:j], row by row, (N + 1,) each.

    D[i, j] = min(D[i-1, j-1] + [a_i ≠ b_j], D[i-1, j] + 1, D[i, j-1] + 1). The last term is in the same row:
    D[i, j] - j is the running minimum of (the smaller of the other two terms) - j.
    """
    codes: dict[int | str, int] = {}
    coded_b = np.array([codes.setdefault(symbol, len(codes)) for symbol in b], np.int64)
    columns = np.arange(len(b) + 1)
    row = columns
    yield row
    for symbol in a:
        above = row + 1
        above[1:] = np.minimum(above[1:], row[:-1] + (coded_b != codes.get(symbol, -1)))
        row = np.minimum.accumulate(above - columns) + columns
        yield row
