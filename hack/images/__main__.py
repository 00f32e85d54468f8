"""`make images`: proves the Dockerfiles without a container engine.

    python -m hack.images operator trainer [--build-arg VARIANT=cpu]

Executes the steps in clean root file systems as root, or in a clean virtual environment without,
and tries what came out. Everything lies in one temporary folder of .cache/images and goes with it.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from hack.images import chroot, dockerfile, smoke
from hack.images.build import CACHE, CONTEXT, Builder
from hack.images.dockerfile import DockerfileError
from hack.images.root import ImageError, size

DOCKERFILES = {"operator": Path("Dockerfile"), "trainer": Path("trainer_image/Dockerfile")}


def prove(name: str, arguments: dict[str, str], work: Path, *, is_chroot: bool) -> None:
    """Build and try one image."""
    started = time.monotonic()
    read = dockerfile.read(CONTEXT / DOCKERFILES[name], arguments)
    root, config = Builder(read, work, is_chroot=is_chroot).build()
    built = time.monotonic() - started
    image = smoke.Image(root, config, work)
    if name == "operator":
        smoke.try_operator(image)
    else:
        smoke.try_trainer(image, has_cpu_torch=bool(arguments.get("TORCH_INDEX")))
    whole, ours = size(root.outside("/")), size(root.outside("/app"))
    print(
        f"{name}: proven in {time.monotonic() - started:.0f} s ({built:.0f} s of it the build); "
        f"/app {ours / 1e6:,.0f} MB of {whole / 1e6:,.0f} MB\n  mode: {root.mode}",
        flush=True,
    )


def main() -> int:
    """Build and try the named images; 1 and the reason when one fails."""
    parser = argparse.ArgumentParser(prog="images", description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", choices=DOCKERFILES)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--mode", choices=["chroot", "folder"], default="chroot" if chroot.works() else "folder"
    )
    flags = parser.parse_args()
    arguments = dict(pair.partition("=")[::2] for pair in flags.build_arg)
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        for name in flags.images:
            print(f"{name}: {DOCKERFILES[name]}", flush=True)
            work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=CACHE))
            try:
                own = arguments if name == "trainer" else {}
                prove(name, own, work, is_chroot=flags.mode == "chroot")
            finally:
                shutil.rmtree(work)
    except (DockerfileError, ImageError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
