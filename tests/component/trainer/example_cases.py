"""What forked processes do with the scripts of an example."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def run_script(script: str, arguments: list[str], steps: int) -> None:
    """A script of an example; what it trains it trains for some steps only."""
    sys.path.insert(0, str(Path(script).parent))
    spec = spec_from_file_location("example_script", script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(module, "STEPS"):
        module.STEPS = steps
    sys.argv = [script, *arguments]
    module.main()
