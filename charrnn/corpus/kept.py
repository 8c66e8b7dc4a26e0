"""Keeps texts that come from standard input or Python as files, so that they can be read again."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from charrnn.corpus.readers import expand, read_bytes
from charrnn.corpus.scratch import CACHE, workspace


def keep_standard_input(corpus: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """The corpus with `-` replaced by a file under `root`/.corpus: a pipe can be read only once."""
    if "-" not in corpus:
        return corpus
    cache = root / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    with workspace(cache) as work:
        (source,) = expand(["-"], work)
        digest = hashlib.sha256()
        for data in read_bytes(source):
            digest.update(data)
        kept = cache / f"stdin-{digest.hexdigest()[:12]}.txt"
        os.replace(source.path, kept)
    return tuple(str(kept) if argument == "-" else argument for argument in corpus)


def keep_texts(texts: Iterable[str], root: Path) -> tuple[str, Literal["line", "file"]]:
    """Keeps texts as lines of a file, or as a folder of files if any has a line end; returns path and split."""
    cache, listed = root / CACHE, list(texts)
    digest = hashlib.sha256("\0".join(listed).encode(errors="surrogatepass")).hexdigest()[:12]
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"texts-{digest}"
    if not any("\n" in text or "\r" in text for text in listed):
        path = kept.with_suffix(".txt")
        path.write_text("".join(f"{text}\n" for text in listed), encoding="utf-8", newline="")
        return str(path), "line"
    kept.mkdir(exist_ok=True)
    for number, text in enumerate(listed):
        (kept / f"{number:09}.txt").write_text(text, encoding="utf-8", newline="")
    return str(kept), "file"
