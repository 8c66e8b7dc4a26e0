"""A linear recurrence for all time steps at once, in as many rounds as the number of steps has bits."""

from charrnn.cells.arrays import Array, concat


def linear_scan(a: Array, b: Array, h: Array) -> Array:
    """All h(t) = a(t) h(t−1) + b(t), t = 1 … T, shape (T, B, H), for a, b (T, B, H) and h(0) = h (B, H).

    Hillis and Steele's scan: two successive steps are one step of the same form, a₂ (a₁ h + b₁) + b₂; after
    round k each step stands for the 2ᵏ that end with it. It takes log₂ T times the operations of a loop, but
    each on all steps. Nothing overflows as long as |a| ≤ 1.
    """
    b = concat([b[:1] + a[:1] * h, b[1:]], axis=0)
    reach = 1
    while reach < len(b):
        b = concat([b[:reach], b[reach:] + a[reach:] * b[:-reach]], axis=0)
        a = concat([a[:reach], a[reach:] * a[:-reach]], axis=0)
        reach *= 2
    return b
