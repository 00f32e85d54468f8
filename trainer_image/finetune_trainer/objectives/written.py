"""What SFT and Pretrain share: rows whose tokens are learnt, one after the other."""

from typing import Any

from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.model.load import Loaded
from finetune_trainer.objectives.cross_entropy import collator, cross_entropy_trainer, mean_loss
from finetune_trainer.objectives.packing import packed
from finetune_trainer.session import Session

LENGTH_CAP = 2048


class Written:
    """Prepared rows, TRL's SFTTrainer with our core, and the loss of the validation rows."""

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        self.session, self.tokenizer, self.loaded = session, tokenizer, loaded
        self.parts = Rows.of_parts(session.places.prepared, collator(tokenizer.pad_token_id))

    def pack(self) -> None:
        """Lay the training rows end to end, if the job wants that. The model is still whole."""
        rows, pad = self.parts["train"], self.tokenizer.pad_token_id
        self.parts["train"] = packed(rows, self.session, self.loaded.model, pad)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """TRL's SFTTrainer with our core."""
        return cross_entropy_trainer(options, processing_class=self.tokenizer, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows' learnt tokens."""
        return mean_loss(model, self.parts["validation"], self.session)
