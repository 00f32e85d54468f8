"""Translates what a container would see into what this machine has, in environment and arguments.

Without a mount namespace each volume is a folder of the host, so a path below a mountPath becomes a
path below that folder. Without DNS the stable name of a pod, `<hostname>.<subdomain>`, becomes its
address. Both are found inside lists, URLs, JSON and shell commands too; paths that a program
builds itself cannot be.
"""

import re

from localcluster.node.network import address

_BEFORE_PATH = r"(?:(?<![^\s'\"=:,;|&<>(\[{`])|(?<=file://))"
_AFTER_PATH = r"(?![\w.-])"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


class Places:
    """The translation for one container: host folders by mountPath, names by subdomain.

    ``group`` is that of the container's pod (`network.group`).
    """

    def __init__(
        self, paths: dict[str, str], namespace: str, subdomain: str = "", group: str = ""
    ) -> None:
        self._paths = {inside.rstrip("/"): outside for inside, outside in paths.items()}
        longest_first = sorted(self._paths, key=len, reverse=True)
        choices = "|".join(map(re.escape, longest_first))
        self._path = re.compile(f"{_BEFORE_PATH}({choices}){_AFTER_PATH}") if choices else None
        self._group, self._subdomain = group, subdomain
        domain = (
            rf"{re.escape(subdomain)}(?:\.{re.escape(namespace)}(?:\.svc(?:\.cluster\.local)?)?)?"
        )
        self._host = (
            re.compile(rf"(?<![\w.-])({_LABEL})\.{domain}(?![\w-]|\.\w)") if subdomain else None
        )

    def translate(self, text: str) -> str:
        """The text with every path and host name translated, each once."""
        if self._path:
            text = self._path.sub(lambda found: self._paths[found[1]], text)
        if self._host:
            text = self._host.sub(
                lambda found: address(self._group, found[1], self._subdomain), text
            )
        return text
