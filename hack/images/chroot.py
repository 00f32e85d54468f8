"""A Debian root file system from debootstrap, entered by chroot in a mount namespace of its own.

All mounts end with the namespace, so nothing is left mounted, however a run ends. Needs root.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

from hack.images.root import SYSTEM_PATH, ImageError, Process, checked, wait

BASE = re.compile(r"debian:(\w+)-slim$")
CERTIFICATES = "/mnt/certificates.pem"
PROXIES = [n for name in ("http_proxy", "https_proxy", "no_proxy") for n in (name, name.upper())]
SETTINGS = (*PROXIES, "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""What this machine tells package clients; a container engine hands them to builds as well."""

ENTER = r"""
set -eu
root=$1 workdir=$2 user=$3 mode=$4 binds=$5
shift 5
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
printf '%s' "$binds" | while IFS='	' read -r source target; do
  if [ -d "$source" ]; then mkdir -p "$root$target"; else touch "$root$target"; fi
  mount --bind "$source" "$root$target"
done
if [ "$mode" = pod ]; then
  mount -o remount,bind,ro "$root"
  exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all env --chdir="$workdir" "$@"
fi
exec chroot --userspec="$user" "$root" env --chdir="$workdir" "$@"
"""
NAMESPACE = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]

SLIM = ("/usr/share/doc", "/usr/share/info", "/usr/share/locale", "/usr/share/man")
"""What slim images leave out."""

DPKG = "force-unsafe-io\n" + "".join(f"path-exclude={folder}/*\n" for folder in SLIM)


def works() -> bool:
    """Whether this process may make and enter a root file system."""
    return os.geteuid() == 0 and shutil.which("debootstrap") is not None


def base(release: str, cache: Path) -> Path:
    """Where the minimal system of a Debian release is kept."""
    return cache / f"debian-{release}"


class Chroot:
    """A folder that is a root file system."""

    mode = "every step, word for word, in a clean Debian root file system (debootstrap, chroot)"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def from_image(cls, image: str, folder: Path, cache: Path) -> Self:
        """What a slim Debian image holds, near enough: the minimal system of the same release."""
        found = BASE.match(image)
        if found is None:
            raise ImageError(f"{image}: only debian:RELEASE-slim can be made here, by debootstrap")
        place = base(found[1], cache)
        if not place.exists():
            _debootstrap(found[1], place)
        return cls(place).fork(folder)

    def fork(self, folder: Path) -> Self:
        subprocess.run(["cp", "-a", "--reflink=auto", self._folder, folder], check=True)
        return type(self)(folder)

    def outside(self, inside: str) -> Path:
        return self._folder / inside.lstrip("/")

    def seen(self, inside: str) -> str:
        return inside

    def skips(self, command: str) -> bool:
        return False

    def run(self, process: Process, log: Path) -> int:
        binds = dict(process.binds)
        env = {"PATH": SYSTEM_PATH, "HOME": "/root", **process.env}
        if not process.as_pod:
            binds |= {"/etc/resolv.conf": Path("/etc/resolv.conf")}
            env |= {"DEBIAN_FRONTEND": "noninteractive"}
            env |= {name: os.environ[name] for name in SETTINGS if name in os.environ}
            bundle = os.environ.get("SSL_CERT_FILE")
            if bundle:
                binds[CERTIFICATES] = Path(bundle)
                env |= {"SSL_CERT_FILE": CERTIFICATES, "PIP_CERT": CERTIFICATES}
        listed = "".join(f"{source}\t{target}\n" for target, source in binds.items())
        words = [f"{name}={value}" for name, value in env.items()]
        enter = [
            *NAMESPACE, "sh", "-c", ENTER, "enter", str(self._folder), process.workdir,
            process.user, "pod" if process.as_pod else "build", listed,
            "--ignore-environment", *words, *process.command,
        ]  # fmt: skip
        return wait(enter, log, env=None, cwd=Path("/"))


def _debootstrap(release: str, place: Path) -> None:
    """Make it once; sources of updates and fixes as in Debian's own images."""
    print(f"  making a minimal Debian {release} (about 1 min the first time)", flush=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished, log = place.with_suffix(f".{os.getpid()}"), place.with_suffix(".log")
    command = ["debootstrap", "--variant=minbase", release, str(unfinished)]
    checked(lambda log: wait(command, log, env=None, cwd=Path("/")), log, "debootstrap")
    sources = unfinished / "etc/apt/sources.list"
    _, mirror, *_ = sources.read_text().split()
    sources.write_text(
        f"deb {mirror} {release} main\n"
        f"deb {mirror} {release}-updates main\n"
        f"deb {mirror}-security {release}-security main\n"
    )
    (unfinished / "etc/dpkg/dpkg.cfg.d/slim").write_text(DPKG)
    (unfinished / "etc/apt/apt.conf.d/slim").write_text('Acquire::Languages "none";\n')
    (unfinished / "etc/resolv.conf").write_text("")
    for folder in (*SLIM, "/var/cache/apt", "/var/lib/apt/lists"):
        shutil.rmtree(unfinished / folder.lstrip("/"))
    unfinished.rename(place)
