"""The only loop over time."""

from charrnn.cells.arrays import Array, OneHot, Params, is_numpy, stack, unstack, where
from charrnn.cells.cell import Cell, State, map_state


def unroll(
    cell: Cell,
    params: Params,
    inputs: Array | OneHot,
    state: State,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, State]:
    """Runs the cell over time and returns outputs (T, B, H) and the final state.

    inputs: (T, B, I), or one-hot symbols (T, B). lengths: (B,) integers; steps from lengths[b] on are padding
    that leaves row b's state as it was, and their outputs mean nothing. reverse: from the last step to the
    first; a padded row begins at its own last step.

    Under torch the cell's fused kernel is used where it computes the same: forwards, without padding.
    """
    if is_numpy(next(iter(params.values()))):
        params = cell.compact(params)
    elif lengths is None and not reverse and (kernel := cell.kernel()) is not None:
        return kernel(params, inputs, state)
    projected = unstack(cell.project(params, inputs))
    times = range(len(projected))
    outputs: list[Array] = []
    for t in reversed(times) if reverse else times:
        output, new_state = cell.step(params, projected[t], state)
        state = new_state if lengths is None else _freeze(t < lengths, new_state, state)
        outputs.append(output)
    return stack(outputs[::-1] if reverse else outputs), state


def _freeze(live: Array, new: State, old: State) -> State:
    """New states for live rows (B,), old ones for the others."""
    return map_state(lambda a, b: where(live.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)
