"""Features of each character of a text, once it is read: its position, and the brackets and quotes open there."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

NEAR_END = 10
"""The largest value of `to_end`: beyond it the distance to the end is not counted."""


class Feature(NamedTuple):
    """A property of each character of a text, once it is read."""

    name: str
    about: str
    is_binary: bool


FEATURES = (
    Feature("position", "characters since the line or the sequence began", False),
    Feature("quotes", "inside quotation marks", True),
    Feature("brackets", "brackets of any kind that are open", False),
    Feature("round", "round brackets that are open", False),
    Feature("square", "square brackets that are open", False),
    Feature("curly", "curly brackets that are open", False),
    Feature("word", "inside a word, behind its first character", True),
    Feature("word_start", "the first character of a word", True),
    Feature("whitespace", "a space, a tab, a line end", True),
    Feature("upper", "an upper-case letter", True),
    Feature("digit", "a digit", True),
    Feature("since_space", "characters since the last whitespace", False),
    Feature("to_end", f"characters to come in the sequence, at most {NEAR_END}", False),
)
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)

_OPENS = {"(": "round", "[": "square", "{": "curly"}
_CLOSES = {")": "round", "]": "square", "}": "curly"}
_QUOTES = {"“": "”", "„": "”", "«": "»", "‘": "’"}
_APOSTROPHES = "'’"


def features(text: str, *, has_end: bool = True) -> FloatArray:
    """The features of one sequence, (len(text), len(FEATURES)), at each character just after it is read.

    An opening mark counts as inside what it opens, and a closing mark as outside. A closing bracket without an
    opening one is ignored; an opening bracket without a closing one stays open. Quotation marks are ", “ ”, „ ”,
    « » and ‘ ’. The straight ' is an apostrophe and never a quotation mark, and so is ’ between two letters or
    digits. Every quotation ends at a blank line, so that a missing mark does not invert the rest of the text.
    has_end: whether the sequence ends after the text; a sequence that was cut does not.
    """
    found = np.zeros((len(text), len(FEATURES)))
    depth = {"round": 0, "square": 0, "curly": 0}
    quoted: list[str] = []
    position = since_space = 0
    in_word, is_blank = False, True
    for i, character in enumerate(text):
        if character == "\n":
            if is_blank:
                quoted.clear()
            position, is_blank = 0, True
        else:
            position, is_blank = position + 1, is_blank and character.isspace()
        since_space = 0 if character.isspace() else since_space + 1
        is_apostrophe = character in _APOSTROPHES and text[i - 1 : i].isalnum() and text[i + 1 : i + 2].isalnum()
        starts = character.isalnum() and not in_word
        was_in_word, in_word = in_word, character.isalnum() or (is_apostrophe and in_word)
        if character in _OPENS:
            depth[_OPENS[character]] += 1
        elif character in _CLOSES:
            depth[_CLOSES[character]] = max(0, depth[_CLOSES[character]] - 1)
        elif not is_apostrophe:
            _quote(quoted, character)
        to_end = min(len(text) - 1 - i, NEAR_END) if has_end else NEAR_END
        found[i] = (
            position, bool(quoted), sum(depth.values()), *depth.values(), in_word and was_in_word, starts,
            character.isspace(), character.isupper(), character.isdigit(), since_space, to_end,
        )  # fmt: skip
    return found


def _quote(awaited: list[str], character: str) -> None:
    """Updates the stack of expected closing marks, the innermost last."""
    if character in awaited:
        del awaited[len(awaited) - 1 - awaited[::-1].index(character) :]
    elif character == '"':
        awaited.append(character)
    elif character in _QUOTES:
        awaited.append(_QUOTES[character])
