"""A small policy with a reference that differs from it, and pairs of answers: what tests of preference losses share."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from miaobi import families, networks
from miaobi.families._preference import PreferenceFamily
from miaobi.families.autoregressive import Autoregressive
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
PROMPT = {"prompt": Spec(Form.TOKENS, vocabulary=11, max_length=4, shared=True)}


def network(name: str = "transformer", conditions: dict[str, Spec] = PROMPT, seed: int = 0, **options: Any) -> Any:
    """With weights large enough for probabilities to differ."""
    port = Autoregressive.ports(Autoregressive.Config(), TARGET, conditions)["network"]
    kind = networks.find(name)
    config = kind.preset("tiny", port.source, port.target, {}).model_copy(update=options)
    made = kind(config, port.source, port.target, {})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made


def language_model(conditions: dict[str, Spec] = PROMPT, **options: Any) -> Autoregressive:
    """A plain one."""
    made = {"network": network(conditions=conditions, **options)}
    return Autoregressive(Autoregressive.Config(), made, {}, TARGET, conditions)


def tuned(
    name: str, reference: Any = "initial", conditions: dict[str, Spec] = PROMPT, net: Any = None, **options: Any
) -> PreferenceFamily:
    """The family ``name``, its reference a copy of its policy (``initial``) or a language model."""
    kind = families.find(name)
    parts = {} if reference == "initial" else {"reference": reference}
    net = net or network(conditions=conditions)
    made = kind(kind.Config.parse(options), {"network": net}, parts, TARGET, conditions)
    if reference == "initial":
        made.parts_by_name.add("reference", deepcopy(made.shipped()))
    return made  # type: ignore[return-value]


def pairs(rows: int = 4, prompts: bool = True) -> Batch:
    """Answers of different lengths, other ones, and every second one desirable."""
    generator = torch.Generator().manual_seed(1)

    def drawn(lengths: list[int], most: int) -> Field:
        values = torch.randint(11, (rows, most), generator=generator)
        return Field(values, lengths=torch.tensor(lengths)[:rows])

    extra = {"rejected": drawn([2, 7, 1, 4], 7), "desirable": Field(torch.arange(rows) % 2)}
    conditions = {"prompt": drawn([4, 2, 1, 3], 4)} if prompts else {}
    return Batch(drawn([9, 3, 1, 5], 9), conditions, extra=extra, ids=torch.arange(rows) + 1)


def log_probs(model: Autoregressive, target: Field, batch: Batch) -> Tensor:
    """``[B]``: of each answer with its end, from the network's own logits, one token after the other."""
    found = []
    for row in range(len(target)):
        prompt = batch.conditions["prompt"].select(slice(row, row + 1)) if batch.conditions else None
        head, _ = model.layout.head({} if prompt is None else {"prompt": prompt}, 1, torch.device("cpu"))
        answer = [*target.values[row, : int(target.lengths[row])].tolist(), model.layout.end]  # type: ignore[index]
        tokens = [*head[0].tolist(), *answer]
        logits = model.network(torch.tensor([tokens]))[0, :, : model.layout.outputs.size]
        says = logits.log_softmax(-1)
        start = len(tokens) - len(answer)
        found.append(sum(says[start + place - 1, token] for place, token in enumerate(answer)))
    return torch.stack(found)  # type: ignore[arg-type]
