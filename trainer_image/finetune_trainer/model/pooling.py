"""Where a decoder's classification head reads: each row's last token."""

from typing import Any

import torch


def read_last_tokens(model: Any) -> None:
    """Have the head ``score`` of ``model`` read each row's last token also where the rows come as
    embeddings, as they do behind virtual tokens: transformers knows padding by its id alone, and
    would read the batch's last position, so that a row's score depended on its neighbours."""
    masks: list[torch.Tensor | None] = [None]

    def note(_: Any, arguments: Any, named: dict[str, Any]) -> None:
        is_embedded = named.get("inputs_embeds") is not None
        masks[0] = named["attention_mask"] if is_embedded else None

    def choose(_: Any, arguments: tuple[torch.Tensor, ...]) -> Any:
        (mask,), (states, *rest) = masks, arguments
        if mask is None:
            return None
        positions = torch.arange(mask.shape[-1], device=mask.device)
        last = (mask * positions).argmax(-1)
        rows = torch.arange(len(states), device=states.device)
        return (states[rows, last][:, None], *rest)

    model.register_forward_pre_hook(note, with_kwargs=True)
    model.score.register_forward_pre_hook(choose)
