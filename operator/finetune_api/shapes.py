"""Shapes of texts that fields share: addresses, names of objects, labels."""

from typing import Annotated

from pydantic import StringConstraints

from finetune_api import rules

Uri = Annotated[str, StringConstraints(min_length=6, max_length=1024)]
ObjectUri = Annotated[Uri, rules.OBJECT]
FolderUri = Annotated[Uri, rules.FOLDER]
Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]
ObjectName = Annotated[Word, rules.OBJECT_NAME]
LabelKey = Annotated[Word, rules.LABEL_KEY_SHAPE]
LabelValue = Annotated[str, StringConstraints(max_length=63), rules.LABEL_VALUE]
