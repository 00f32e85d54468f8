"""Shapes of texts that fields share: addresses, names of objects, labels."""

from typing import Annotated

from pydantic import StringConstraints

from finetune_api import patterns

Uri = Annotated[str, StringConstraints(min_length=6, max_length=1024)]
ObjectUri = Annotated[Uri, patterns.OBJECT]
FolderUri = Annotated[Uri, patterns.FOLDER]
Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]
OutputUri = Annotated[Uri, patterns.OUTPUT]
ObjectName = Annotated[Word, patterns.OBJECT_NAME]
LabelKey = Annotated[Word, patterns.LABEL_KEY_SHAPE]
LabelValue = Annotated[str, StringConstraints(max_length=63), patterns.LABEL_VALUE]
