"""Keeps texts that come from standard input or Python as files, so that they can be read again."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from charrnn.corpus.readers import expand, fingerprint
from charrnn.corpus.scratch import CACHE, FULL, full_disk_reported, workspace
from charrnn.errors import CheckpointError


def keep_standard_input(corpus: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """The corpus with `-` and pipes replaced by files under `root`/.corpus: they can be read only once."""
    once = [argument for argument in dict.fromkeys(corpus) if argument == "-" or Path(argument).is_fifo()]
    kept = {argument: _keep(argument, root) for argument in once}
    return tuple(kept.get(argument, argument) for argument in corpus)


def _keep(argument: str, root: Path) -> str:
    with _cache(root) as cache, workspace(cache) as work:
        (source,) = expand([argument], work)
        name = "stdin" if argument == "-" else "pipe"
        kept = cache / f"{name}-{fingerprint([source]).sha256[:12]}.txt"
        os.replace(source.path, kept)
    return str(kept)


def keep_texts(texts: Iterable[str], root: Path) -> tuple[str, Literal["line", "file"]]:
    """Keeps texts as lines of a file, or as a folder of files if any has a line end; returns path and split."""
    listed = list(texts)
    digest = hashlib.sha256("\0".join(listed).encode(errors="surrogatepass")).hexdigest()[:12]
    with _cache(root) as cache:
        kept = cache / f"texts-{digest}"
        if not any("\n" in text or "\r" in text for text in listed):
            path = kept.with_suffix(".txt")
            path.write_text("".join(f"{text}\n" for text in listed), encoding="utf-8", newline="")
            return str(path), "line"
        kept.mkdir(exist_ok=True)
        for number, text in enumerate(listed):
            (kept / f"{number:09}.txt").write_text(text, encoding="utf-8", newline="")
        return str(kept), "file"


@contextmanager
def _cache(root: Path) -> Iterator[Path]:
    """The folder for kept texts. Raises ResourceError on a full disk, CheckpointError if it is read-only."""
    cache = root / CACHE
    with full_disk_reported(cache):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            yield cache
        except OSError as error:
            if error.errno in FULL:
                raise
            raise CheckpointError(
                f"{cache}: cannot write: {error.strerror}; choose a place that can be written to"
            ) from error
