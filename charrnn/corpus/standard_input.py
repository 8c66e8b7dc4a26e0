"""Standard input as a corpus: a pipe can be read only once, so what comes is kept."""

import hashlib
import os
from pathlib import Path

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
