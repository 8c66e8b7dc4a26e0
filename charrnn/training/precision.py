"""The precision of matrix products in training. Parameters, moments and losses are always float32."""

from contextlib import AbstractContextManager, nullcontext

import torch

from charrnn.config import Precision


def fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself (AMX or AVX512-BF16).

    If it does not, such a product was measured 400 times slower than in float32. The functions that test this are
    not in torch's public interface, so a torch without them counts as a no.
    """
    tests = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(test is not None and test() for test in tests)


def products_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context within which torch multiplies matrices in this precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
