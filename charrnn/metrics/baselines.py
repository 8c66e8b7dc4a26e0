"""Losses of simpler models on the same held-out text, in the same units as the network's.

Uniform, unigram, the best n-gram of orders 1 to 8, and xz. All are charged for endings if the network is, and
are divided by the same counts. This file knows neither the source of a text nor the network's predictions.

Internally, a text is one run of alphabet ids 0 .. A-1, with the mark A after each sequence that ended.
"""

import itertools
import lzma
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.sequences import Sequences, to_code_points, to_text
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.metrics.ngram import NGram

MAX_ORDER = 8
TRAINING_BYTES = 16_000_000
"""How much of the end of the training text is read, in UTF-8, endings included."""

QUICK_BYTES = 2_000_000
"""The same for `quick_ngram`, for which a user waits after training."""

QUICK_PIECES = 4
"""Pieces of held-out text that `quick_ngram` reads, a million characters in total."""

_UNCHOSEN_ORDER = 5
_PIECE_CHARS = 1 << 18
_XZ_WINDOW = (1 << 12, 1 << 25)
"""Minimum and maximum of xz's window in bytes; between them, the window is as long as the text."""


class Baselines(NamedTuple):
    figures: dict[str, Any]
    """Can be written as strict JSON."""
    ngram: NGram | None
    """Fitted to the training text; None if that is gone."""


def baselines(
    train: Sequences | None,
    valid: Sequences | None,
    held_out: Sequences,
    vocabulary: Vocabulary,
    *,
    training_chars: int,
    independent: bool,
    endings: bool,
    separator: str,
) -> Baselines:
    """The loss of each baseline on `held_out`.

    A character outside `vocabulary` costs ln(training_chars + 1), as for the network. `endings` says that the
    network is charged for stopping: then the n-grams have one more outcome, and xz reads `separator` after each
    sequence. With `independent`, no n-gram uses context from before the beginning of its sequence.

    The figures are `uniform`, `unigram`, `ngram` (with its `order`) and `xz`, each with `nll` (total nats), `loss`
    (nats per character), `loss_per_symbol` (with `endings`, each sequence counts one symbol more) and
    `bits_per_char`, the last three None if there is nothing to divide by; `num_oov`; and `note`, None or
    remarks for the reader. Without `train`, all but uniform are None. Without `valid`, the order is not chosen,
    but 5.
    """
    marks = independent or endings
    if not endings:
        separator = ""
    notes = []
    model = NGram(vocabulary.size, endings, independent, unknown_nll=math.log(training_chars + 1))
    order: int | None = None
    xz_bytes = 0
    if train is None:
        notes.append("The training text is gone: no unigram, n-gram and xz.")
    else:
        ids, is_whole = _tail(train, marks, separator, TRAINING_BYTES)
        if not is_whole:
            notes.append(f"Of the training text the last {TRAINING_BYTES / 1e6:g} MB were read.")
        open_start = train.open_start or not is_whole
        model = model.fit(_symbols(train, vocabulary)[ids], MAX_ORDER, open_start=open_start)
        if valid is None:
            order = _UNCHOSEN_ORDER
            notes.append(f"The validation text is gone: the n-gram's order is {order}, not chosen.")
        else:
            order = 1 + int(np.argmin(_nll(model, _pieces(valid, marks), valid, vocabulary)[1:]))
        xz_bytes = _extra_xz_bytes(
            _spell(train, np.array_split(ids, 1 + len(ids) // _PIECE_CHARS), separator),
            _spell(held_out, _pieces(held_out, marks), separator),
        )

    def figures(nll: float) -> dict[str, Any]:
        num_chars = held_out.num_chars
        num_symbols = num_chars + (len(held_out) if endings else 0)
        return {
            "nll": nll,
            "loss": nll / num_chars if num_chars else None,
            "loss_per_symbol": nll / num_symbols if num_symbols else None,
            "bits_per_char": nll / math.log(2) / num_chars if num_chars else None,
        }

    nll = _nll(model, _pieces(held_out, marks), held_out, vocabulary).tolist()
    is_unknown = _symbols(held_out, vocabulary)[:-1] == vocabulary.unknown
    return Baselines(
        {
            "uniform": figures(nll[0]),
            "unigram": None if order is None else figures(nll[1]),
            "ngram": None if order is None else {**figures(nll[order]), "order": order},
            "xz": None if order is None else figures(8 * math.log(2) * xz_bytes),
            "num_oov": int(held_out.symbol_counts[is_unknown].sum()),
            "note": " ".join(notes) or None,
        },
        None if order is None else model,
    )


class QuickNGram(NamedTuple):
    loss: float
    """Nats per character of the held-out text."""
    order: int
    is_whole: bool
    """Whether all of the training text was read."""


def quick_ngram(
    train: Sequences,
    held_out: Sequences,
    vocabulary: Vocabulary,
    *,
    training_chars: int,
    independent: bool,
    endings: bool,
    separator: str,
) -> QuickNGram | None:
    """The n-gram of the order that fits `held_out` best, a choice in its favour; None if there is no character.

    It is charged for the same things as the n-gram of `baselines`, but reads only the last QUICK_BYTES of the
    training text and the first QUICK_PIECES of `held_out`. It takes seconds, whatever the size of the corpus.
    """
    marks = independent or endings
    ids, is_whole = _tail(train, marks, separator, QUICK_BYTES)
    model = NGram(vocabulary.size, endings, independent, unknown_nll=math.log(training_chars + 1))
    model = model.fit(_symbols(train, vocabulary)[ids], MAX_ORDER, open_start=train.open_start or not is_whole)
    pieces = list(itertools.islice(_pieces(held_out, marks), QUICK_PIECES))
    num_chars = sum(int(np.count_nonzero(ids < len(held_out.alphabet))) for ids in pieces)
    if not num_chars:
        return None
    losses = _nll(model, pieces, held_out, vocabulary) / num_chars
    order = 1 + int(np.argmin(losses[1:]))
    return QuickNGram(float(losses[order]), order, is_whole)


def _pieces(sequences: Sequences, marks: bool) -> Iterator[NDArray[np.int32]]:
    """The ids of all sequences in order, in pieces of no fixed size."""
    for block in sequences.blocks(_PIECE_CHARS):
        ids = block.ids.astype(np.int32)
        if marks:
            rows = slice(block.first, block.first + len(block.lengths))
            ended = block.offset + block.lengths == sequences.ends[rows] - sequences.starts[rows]
            if sequences.open_end and rows.stop == len(sequences):
                ended[-1] = False
            ids = np.insert(ids, np.cumsum(block.lengths)[ended], len(sequences.alphabet))
        yield ids


def _tail(sequences: Sequences, marks: bool, separator: str, limit: int) -> tuple[NDArray[np.int32], bool]:
    """The last ids that together take at most `limit` bytes, and whether these are all the ids."""
    starts, ends = sequences.starts[-limit:], sequences.ends[-limit:]
    starts = np.maximum(starts, ends - limit)
    reach = np.cumsum((ends - starts + marks)[::-1])
    rows = slice(-1 - int(np.searchsorted(reach, limit)), None)
    ids = np.concatenate(
        [np.empty(0, np.int32), *_pieces(replace(sequences, starts=starts[rows], ends=ends[rows]), marks)]
    )
    char_bytes = 1 + np.searchsorted([0x80, 0x800, 0x10000], sequences.alphabet, side="right")
    widths = np.append(char_bytes, len(separator.encode()))
    kept = np.searchsorted(np.cumsum(widths[ids[::-1]]), limit, side="right")
    num_ids = sequences.num_chars + (len(sequences) - sequences.open_end if marks else 0)
    return ids[len(ids) - kept :], bool(kept == num_ids)


def _symbols(sequences: Sequences, vocabulary: Vocabulary) -> NDArray[np.int32]:
    """(A+1,) the n-gram's symbol of each id."""
    return np.append(vocabulary.table(sequences.alphabet), np.int32(vocabulary.eos))


def _nll(
    model: NGram, pieces: Iterable[NDArray[np.int32]], sequences: Sequences, vocabulary: Vocabulary
) -> NDArray[np.float64]:
    """(1 + max_order,) total nats of pieces of `sequences`, from their beginning, under each order."""
    total = np.zeros(1 + model.max_order)
    symbols = _symbols(sequences, vocabulary)
    context = np.empty(0, np.int32)
    open_start = sequences.open_start
    for ids in pieces:
        piece = np.append(context, symbols[ids])
        total += model.nll(piece, open_start=open_start)[:, len(context) :].sum(axis=1)
        context = piece[-MAX_ORDER:]
        open_start = open_start or len(piece) > MAX_ORDER
    return total


def _spell(sequences: Sequences, pieces: Iterable[NDArray[np.int32]], separator: str) -> bytes:
    """The UTF-8 of pieces of ids, each mark written as the separator."""
    mark = len(sequences.alphabet)
    code_points = np.append(sequences.alphabet, np.uint32(0))
    text = []
    for ids in pieces:
        is_mark = ids == mark
        widths = np.where(is_mark, len(separator), 1)
        spelled = np.repeat(code_points[ids], widths)
        spelled[np.repeat(is_mark, widths)] = np.tile(to_code_points(separator), np.count_nonzero(is_mark))
        text.append(to_text(spelled).encode(errors="surrogatepass"))
    return b"".join(text)


def _extra_xz_bytes(training: bytes, held_out: bytes) -> int:
    """By how much the held-out text lengthens the compressed training text."""
    window = min(max(len(training) + len(held_out), _XZ_WINDOW[0]), _XZ_WINDOW[1])
    # the bare LZMA2 stream: the container of xz would round the lengths up to multiples of four
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}]

    def size(*texts: bytes) -> int:
        compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
        return sum(len(compressor.compress(text)) for text in texts) + len(compressor.flush())

    return size(training, held_out) - size(training)
