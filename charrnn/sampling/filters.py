"""Temperature and filters on the character softmax. EOS shares the temperature, but no filter removes it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """temperature: 0 selects the most probable symbol; top_k keeps the k most probable characters; top_p the
    fewest that hold this share of the characters' probability (Holtzman et al. 2020); min_p those at least this
    fraction as probable as the most probable one. Several filters keep what all of them keep."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def probabilities(self, log_probs: npt.NDArray[np.float64], num_chars: int) -> npt.NDArray[np.float64]:
        """The distribution to draw from, (B, S), by log-probabilities (B, S), of EOS from num_chars on."""
        if self.temperature == 0.0:
            best = np.argmax(log_probs, axis=-1)
            return np.asarray(np.arange(log_probs.shape[-1]) == best[..., None], np.float64)
        if self.temperature == 1.0:
            p = np.exp(log_probs)
        else:
            with np.errstate(over="ignore"):
                p = np.exp((log_probs - log_probs.max(axis=-1, keepdims=True)) / self.temperature)
        if self.top_k is not None or self.top_p is not None or self.min_p is not None:
            p[..., :num_chars] *= self._kept(p[..., :num_chars])
        result: npt.NDArray[np.float64] = p / p.sum(axis=-1, keepdims=True)
        return result

    def _kept(self, p: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """The characters that every filter keeps, (B, V), for unnormalised probabilities (B, V)."""
        order = np.argsort(-p, axis=-1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=-1)
        kept = np.ones(p.shape, bool)
        if self.top_k is not None:
            kept[..., self.top_k :] = False
        if self.top_p is not None:
            before = np.cumsum(ranked, axis=-1) - ranked
            kept &= before < self.top_p * ranked.sum(axis=-1, keepdims=True)
        if self.min_p is not None:
            kept &= ranked >= self.min_p * ranked[..., :1]
        kept[..., 0] = True
        by_character = np.empty_like(kept)
        np.put_along_axis(by_character, order, kept, axis=-1)
        return by_character


def draw(p: npt.NDArray[np.float64], u: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Draws one symbol per row, (B,), by inversion: probabilities (B, S), uniforms (B,) in [0, 1)."""
    cumulative = p.cumsum(axis=-1)
    index = (cumulative <= (u * cumulative[..., -1])[..., None]).sum(axis=-1)
    return np.asarray(np.minimum(index, p.shape[-1] - 1), np.int64)
