"""Where the server is: an address that is checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from misodice.errors import MisodiceError

OPENAI_URL = "https://api.openai.com/v1"
URL_VARIABLE = "OPENAI_BASE_URL"
ENDPOINT = "/chat/completions"
_SECRET = re.compile(r"key|token|secret|passw|^sig$|^code$", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """A server's address.

    Attributes:
        url: without the endpoint's path and without a query.
        query: what is added to every request's address, such as Azure's api-version.
        origin: where the user named it, for messages.
    """

    url: str
    query: dict[str, str]
    origin: str

    @property
    def azure(self) -> bool:
        """Whether it is Azure's older interface: a path of its own for each deployment, and a header for the key."""
        return "api-version" in self.query and not urlsplit(self.url).path.rstrip("/").endswith("/v1")

    @classmethod
    def of(cls, base_url: str | None, query: Mapping[str, object] | None = None) -> Address:
        """Read and check an address.

        Args:
            base_url: the labeller's option; None is $OPENAI_BASE_URL, or OpenAI's own.
            query: added to every request's address, over what base_url holds itself.

        Raises:
            MisodiceError: it is no address of a web server, or it holds what would be written into config.yaml.
        """
        variable = os.environ.get(URL_VARIABLE, "").strip()
        if base_url is not None:
            given, origin = base_url.strip(), "labeller.base_url"
        elif variable:
            given, origin = variable, URL_VARIABLE
        elif URL_VARIABLE in os.environ:
            # A key that is meant for another server must not go to OpenAI.
            raise MisodiceError(
                f"LLMLabeller: the environment variable {URL_VARIABLE} is empty; set it to the server's address, or "
                "unset it to ask OpenAI's own"
            )
        else:
            given, origin = OPENAI_URL, "OpenAI's own address"
        _check(given, origin)
        parts = urlsplit(given)
        entries = {**dict(parse_qsl(parts.query)), **{name: str(value) for name, value in (query or {}).items()}}
        secret = next((name for name in entries if _SECRET.search(name)), None)
        if secret is not None:
            raise MisodiceError(
                f"LLMLabeller: {origin} or labeller.query holds {secret!r}, which would be written into config.yaml; "
                "leave it out and set OPENAI_API_KEY in the environment"
            )
        return cls(urlunsplit((parts.scheme, parts.netloc, _path(parts.path), "", "")), entries, origin)


def identity_of(base_url: str | None) -> str | None:
    """The address as it stands in the fingerprint of answers: as it was given, without query, endpoint and final /."""
    given = (base_url or os.environ.get(URL_VARIABLE, "")).strip()
    if not given:
        return None
    return _path(given.partition("#")[0].partition("?")[0]).rstrip("/")


def _path(path: str) -> str:
    """Without the endpoint's own path, which is added to every request."""
    return path.rstrip("/").removesuffix(ENDPOINT) if path.rstrip("/").endswith(ENDPOINT) else path


def _is_host(host: str) -> bool:
    """Whether a name may be looked up: its parts have 1 to 63 letters (RFC 1035). A client knows more rules."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _check(given: str, origin: str) -> None:
    what = None
    if not given:
        what = "is empty"
    elif re.search(r"[\s\x00-\x1f\x7f]", given):
        what = "holds a blank or a line end"
    elif given[0] in "\"'“‘«`":
        what = "begins with a quotation mark"
    else:
        try:
            parts = urlsplit(given)
            scheme, host, userinfo = parts.scheme.lower(), parts.hostname, "@" in parts.netloc
            port_is_bad = parts.port == 0
        except ValueError as error:
            what = f"is no address ({error})"
        else:
            if userinfo:
                raise MisodiceError(
                    f"LLMLabeller: {origin.removeprefix('labeller.')} holds a user name or password, which would be "
                    "written into config.yaml; leave it out and set OPENAI_API_KEY in the environment"
                )
            if scheme not in ("http", "https") or "://" not in given:
                what = "does not begin with http:// or https://"
            elif not host:
                what = "names no host"
            elif host in ("http", "https") and parts.path.startswith("//"):
                what = "begins with http:// or https:// twice"
            elif not _is_host(host):
                what = f"names a host that cannot be ({host})"
            elif port_is_bad:
                what = "names port 0"
    if what is not None:
        raise MisodiceError(
            f"LLMLabeller: {origin} {what}: found {given!r}, expected an address such as http://localhost:8000/v1"
            + ("; null is OpenAI's own" if origin == "labeller.base_url" else "")
        )
