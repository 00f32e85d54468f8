"""What a rank imports."""

import sys
from typing import Any


def compiler() -> list[str]:
    """Modules of torch's compiler that this process has imported."""
    return [name for name in sys.modules if name == "torch._inductor.compile_fx"]


def test_no_library_has_brought_the_compiler(server: Any, forkserver: Any) -> None:
    """It costs each process seconds and a hundred megabytes."""
    (outcome,) = server.call(compiler, [forkserver.Child()])
    assert outcome.code == 0, outcome.output
    assert outcome.value == []
