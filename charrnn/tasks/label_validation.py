"""What a model that tells labels or numbers is worth on the validation part, and how sure it may be of itself."""

import torch

from charrnn.models.label_readout import LOG_TEMPERATURE, LabelReadout
from charrnn.training.temperature import fit_temperature


def validated(
    readout: LabelReadout,
    parameters: dict[str, torch.Tensor],
    logits: list[torch.Tensor],
    outputs: list[torch.Tensor],
) -> float:
    """Nats an output, of batches of logits (M, K) and outputs (M,); fits the temperature in the parameters."""
    o, y = torch.cat(logits), torch.cat(outputs)
    if not readout.is_regression:
        parameters[LOG_TEMPERATURE].fill_(fit_temperature(o.cpu().numpy(), y.cpu().numpy()))
    params = {name: parameters[name].double() for name in readout.shapes}
    return float(readout.nll(params, o, y).mean())
