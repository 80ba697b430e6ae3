"""What the reference's parser has to be told about docstrings here."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads "Example:" as "Examples:", so that its lines are code."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.M
            )
