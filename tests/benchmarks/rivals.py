"""What charrnn is measured against: a plain LSTM and a small GPT, in torch alone. They know nothing of charrnn.

    python tests/benchmarks/rivals.py lstm TEXT --seconds 60 --hidden 256 --rate 6e-3
    python tests/benchmarks/rivals.py gpt TEXT

Each trains on the first 90 % of a text, is scored on the last 10 % and prints one line of JSON. Losses are nats
per character.
"""

import argparse
import ctypes
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, linear

Figures = dict[str, Any]


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself; elsewhere it is emulated, which is ruinously slow."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def tune_malloc() -> None:
    """Has glibc keep freed memory, which trains 1.2 to 1.36 times faster; charrnn does the same."""
    if sys.platform == "linux":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def read(path: Path) -> tuple[Tensor, Tensor, int]:
    """(N,) the first 90 % of a text, (M,) the rest, both as symbols, and the size of the alphabet."""
    text = path.read_text(encoding="utf-8")
    alphabet = {character: symbol for symbol, character in enumerate(sorted(set(text)))}
    symbols = torch.tensor([alphabet[character] for character in text])
    cut = int(0.9 * len(symbols))
    return symbols[:cut], symbols[cut:], len(alphabet)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """One step of the optimiser, the gradient's norm clipped to 1."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


# The LSTM --------------------------------------------------------------------------------------------------

MemoryState = tuple[Tensor, Tensor]


class LSTM(nn.Module):
    """nn.Embedding, nn.LSTM and nn.Linear, with starts that suit characters."""

    def __init__(self, alphabet: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, alphabet)  # ~ N(0, 1), torch's own start
        self.recurrent = nn.LSTM(alphabet, hidden)
        self.readout = nn.Linear(hidden, alphabet)
        with torch.no_grad():
            for gate in self.recurrent.weight_hh_l0.split(hidden):
                nn.init.orthogonal_(gate)
            self.recurrent.bias_ih_l0.zero_()[hidden : 2 * hidden] = 1.0  # the forget gate begins open
            self.recurrent.bias_hh_l0.zero_()

    def forward(self, symbols: Tensor, state: MemoryState | None, drop: float = 0.0) -> tuple[Tensor, MemoryState]:
        """(T, B) -> (T, B, V) logits, and the state after them, through which no gradient flows back."""
        hidden, (h, c) = self.recurrent(dropout(self.embedding(symbols), drop / 2), state)
        return self.readout(dropout(hidden, drop)), (h.detach(), c.detach())


def cosine(share: float, warm_up: float = 0.05, floor: float = 0.02) -> float:
    """The learning rate's share of its peak after a share of the time."""
    if share < warm_up:
        return max(share / warm_up, 1e-3)
    return floor + (1 - floor) * (1 + math.cos(math.pi * (share - warm_up) / (1 - warm_up))) / 2


def train_lstm(path: Path, a: argparse.Namespace) -> Figures:
    """Trains for so many seconds on parallel lanes of the text, each with its state carried."""
    tune_malloc()
    train, held_out, alphabet = read(path)
    model = LSTM(alphabet, a.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.5, 0.99), weight_decay=0.0, fused=True)
    length = (len(train) - 1) // a.batch
    if length < 2 * a.window:
        sys.exit(f"{path}: too short for {a.batch} lanes of windows of {a.window} characters")
    lanes = train[: a.batch * length].view(a.batch, length).t().contiguous()
    begin, steps, at, state = time.perf_counter(), 0, 0, None
    while (share := (time.perf_counter() - begin) / a.seconds) < 1:
        if at + a.window >= length:
            at, state = int(torch.randint(a.window, ())), None
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            logits, state = model(lanes[at : at + a.window], state, a.dropout)
        targets = lanes[at + 1 : at + a.window + 1]
        loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        update(model, optimizer, loss, a.rate * cosine(share))
        at, steps = at + a.window, steps + 1
    seconds = time.perf_counter() - begin
    num_chars = steps * a.batch * a.window
    return {
        "model": f"lstm 1 x {a.hidden}" + " bf16" * a.bf16,
        "seconds": seconds,
        "loss": carried_loss(model, held_out),
        "epochs": num_chars / len(train),
        "chars_per_second": num_chars / seconds,
        "parameters": size(model),
    }


@torch.inference_mode()
def carried_loss(model: LSTM, text: Tensor, window: int = 1024) -> float:
    """Nats per character of (N,) a text that is read once, from the zero state, as one stream, in float32."""
    nats, state = 0.0, None
    for inputs, targets in zip(text[:-1].split(window), text[1:].split(window), strict=True):
        logits, state = model(inputs[:, None], state)
        nats += cross_entropy(logits[:, 0], targets, reduction="sum").item()
    return nats / (len(text) - 1)


# The GPT ---------------------------------------------------------------------------------------------------

LAYERS, HEADS, UNITS, CONTEXT, BATCH = 4, 4, 128, 64, 12
"""The usual small recipe for a CPU."""


class GPT(nn.Module):
    """Decoder blocks that normalise first and have no biases; the readout is the embedding."""

    def __init__(self, alphabet: int) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(alphabet, UNITS), nn.Embedding(CONTEXT, UNITS)
        block = nn.TransformerEncoderLayer(
            UNITS, HEADS, 4 * UNITS, 0.0, "gelu", batch_first=True, norm_first=True, bias=False
        )
        norm = nn.LayerNorm(UNITS, bias=False)
        self.blocks = nn.TransformerEncoder(block, LAYERS, norm, enable_nested_tensor=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                ends_a_branch = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if ends_a_branch else 0.02)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, symbols: Tensor) -> Tensor:
        """(B, CONTEXT) -> (B, CONTEXT, V) logits."""
        inputs = self.symbols(symbols) + self.places.weight
        return linear(self.blocks(inputs, mask=self.mask, is_causal=True), self.symbols.weight)


def train_gpt(path: Path, a: argparse.Namespace) -> Figures:
    """Trains on random windows: AdamW, 100 steps up to 1e-3, then a cosine down to 1e-4."""
    tune_malloc()
    train, held_out, alphabet = read(path)
    model = GPT(alphabet)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    windows, up = train.unfold(0, CONTEXT + 1, 1), min(100, a.steps // 20)
    begin = time.perf_counter()
    for step in range(a.steps):
        window = windows[torch.randint(len(windows), (BATCH,))]
        loss = cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        fall = 0.1 + 0.9 * (1 + math.cos(math.pi * (step - up) / (a.steps - up))) / 2
        update(model, optimizer, loss, 1e-3 * ((step + 1) / (up + 1) if step < up else fall))
    seconds = time.perf_counter() - begin
    num_chars = a.steps * BATCH * CONTEXT
    return {
        "model": f"gpt {LAYERS} x {UNITS}",
        "steps": a.steps,
        "seconds": seconds,
        "loss": window_loss(model, held_out, scored=16),
        "loss_in_blocks": window_loss(model, held_out, scored=CONTEXT),
        "epochs": num_chars / len(train),
        "chars_per_second": num_chars / seconds,
        "parameters": size(model),
    }


@torch.inference_mode()
def window_loss(model: GPT, text: Tensor, scored: int) -> float:
    """Nats per character of (N,) a text, each read once as one of the last `scored` symbols of a window.

    So each character has at least CONTEXT - scored others before it, but for the text's own beginning, which
    is left out.
    """
    losses = []
    for windows in text.unfold(0, CONTEXT + 1, scored).split(64):
        logits, targets = model(windows[:, :-1])[:, -scored:], windows[:, -scored:]
        losses.append(cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none"))
    return torch.cat(losses).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Train a rival on the first 90 %% of a text, score it on the rest."
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    lstm, gpt = kinds.add_parser("lstm"), kinds.add_parser("gpt")
    for kind in (lstm, gpt):
        kind.add_argument("text", type=Path)
        kind.add_argument("--seed", type=int, default=1)
        kind.add_argument("--threads", type=int, help="torch's own choice by default")
    lstm.add_argument("--seconds", type=float, default=60)
    lstm.add_argument("--hidden", type=int, default=256)
    lstm.add_argument("--batch", type=int, default=16)
    lstm.add_argument("--window", type=int, default=64)
    lstm.add_argument("--rate", type=float, default=6e-3)
    lstm.add_argument("--dropout", type=float, default=0.0)
    lstm.add_argument("--bf16", action="store_true", help="where the processor multiplies bfloat16 itself")
    gpt.add_argument("--steps", type=int, default=2000)
    a = parser.parse_args()
    if a.kind == "lstm" and a.bf16 and not has_bf16():
        sys.exit("--bf16: this processor does not multiply bfloat16 itself")
    torch.manual_seed(a.seed)
    if a.threads is not None:
        torch.set_num_threads(a.threads)
    figures = {"lstm": train_lstm, "gpt": train_gpt}[a.kind](a.text, a)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
