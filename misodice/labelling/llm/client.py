"""The client of an OpenAI-compatible server: what would fail in every request is found before the first one."""

from __future__ import annotations

import os
import re
import ssl
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from misodice.errors import MisodiceError
from misodice.labelling.llm.address import Address
from misodice.labelling.llm.failures import FailedError

KEY_VARIABLE = "OPENAI_API_KEY"
HEADERS = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")
"""Variables that the openai package sends as headers."""
CONNECT_SECONDS = 10.0
"""The longest wait for a connection; an answer may take longer."""


def make_client(address: Address, key: str | None, timeout: float) -> Any:
    """An AsyncOpenAI client without retries of its own, or Azure's.

    Args:
        address: of the server.
        key: None or empty where the server needs none.
        timeout: seconds for an answer.

    Raises:
        MisodiceError: the package is missing, or the key, another header, the proxy or a certificate file cannot be
            used.
    """
    openai = import_openai()
    import httpx2  # what openai is built on

    check_header(KEY_VARIABLE, key)
    for name in HEADERS[:-1]:
        check_header(name, os.environ.get(name))
    certificates = os.environ.get("SSL_CERT_FILE")
    if certificates and not os.path.isfile(certificates):
        raise MisodiceError(
            f"LLMLabeller: SSL_CERT_FILE names {certificates!r}, which is no file; name the file of the trusted "
            "certificates, or unset the variable"
        )
    try:
        httpx2.URL(address.url)
    except httpx2.InvalidURL as error:
        raise MisodiceError(
            f"LLMLabeller: {address.origin} is no address ({error}): found {address.url!r}, expected one such as "
            "http://localhost:8000/v1"
        ) from None
    limits = openai.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
    options = {"api_key": key or "no-key", "base_url": address.url, "timeout": limits, "max_retries": 0}
    try:
        if address.azure:
            rest = {name: value for name, value in address.query.items() if name != "api-version"}
            version = address.query["api-version"]
            return openai.AsyncAzureOpenAI(**options, api_version=version, default_query=rest)
        return openai.AsyncOpenAI(**options, default_query=address.query)
    except ImportError:
        raise MisodiceError(
            f"LLMLabeller: {_proxy_variables('socks')} names a SOCKS proxy, and the package for it is missing: pip "
            "install 'httpx2[socks]', or add the server's host to NO_PROXY"
        ) from None
    except (OSError, ssl.SSLError) as error:
        log = os.environ.get("SSLKEYLOGFILE")
        if log and error.filename == log:
            raise MisodiceError(
                f"LLMLabeller: SSLKEYLOGFILE names {log!r}, which cannot be written ({error.strerror}); name a file in "
                "a folder that exists, or unset the variable"
            ) from None
        raise MisodiceError(
            f"LLMLabeller: the trusted certificates cannot be read: SSL_CERT_FILE is {certificates!r}, SSL_CERT_DIR is "
            f"{os.environ.get('SSL_CERT_DIR')!r} ({error}); correct or unset them"
        ) from None
    except (ValueError, httpx2.InvalidURL) as error:
        # The address is checked above: what is left are the proxies.
        raise MisodiceError(
            f"LLMLabeller: {_proxy_variables()} cannot be used as a proxy ({error}); correct it, unset it, or add the "
            "server's host to NO_PROXY"
        ) from None


def import_openai() -> Any:
    """The openai package.

    Raises:
        MisodiceError: it is missing.
    """
    try:
        import openai
    except ImportError as error:
        raise MisodiceError("LLMLabeller needs the openai package: pip install 'misodice[llm]'") from error
    return openai


def check_header(name: str, value: str | None) -> None:
    """Raise a MisodiceError where a variable cannot be sent as it is; its content is never shown."""
    if not value:
        return
    what = None
    odd = next((at for at, letter in enumerate(value) if not 32 < ord(letter) < 127), None)
    if not value.strip():
        what = "holds blanks alone"
    elif value.rstrip("\r\n") != value:
        what = "ends with a line end, as a key that is read from a file may: use $(cat FILE)"
    elif value[0] in "\"'`" or value[-1] in "\"'`":
        what = "stands in quotation marks that are part of it"
    elif value.strip() != value:
        what = "begins or ends with a blank"
    elif odd is not None:
        letter = value[odd]
        shown = "a blank" if letter == " " else f"the character U+{ord(letter):04X}"
        what = f"holds {shown} at place {odd + 1}, which no key has"
    if what is not None:
        raise MisodiceError(f"LLMLabeller: the environment variable {name} {what}; set it anew without")


def redirect_failure(response: Any, address: Address) -> FailedError | None:
    """What a redirect is told as, which no request can pass; None where there is none, or where it was followed.

    A POST that is sent on as a GET (by 301, 302 or 303) has lost the question.

    Args:
        response: of httpx.
        address: of the server.
    """
    status, target = response.status_code, ""
    if 300 <= status < 400:
        target = response.headers.get("location", "").partition("?")[0] or "no address is named"
    elif response.history and response.request.method != response.history[0].request.method:
        status, target = response.history[0].status_code, str(response.url).partition("?")[0]
    if not target:
        return None
    words = f"{address.url} redirects to another address: check {address.origin}"
    return FailedError("account", words, target, status)


def connection_failure(error: BaseException, address: Address, reached: bool) -> FailedError:
    """What a lost connection is told as: kind "account" where no further try can pass.

    Args:
        error: with its causes.
        address: of the server.
        reached: whether the server answered before in this run; what it refuses then may pass.
    """
    causes = list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    proxy = _proxy_of(address.url)
    through = f" through the proxy of {proxy}" if proxy else ""
    host = urlsplit(address.url).netloc
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FailedError(
                "account",
                f"the certificate of {host} is not trusted ({cause.verify_message}): set SSL_CERT_FILE to a file with "
                f"the certificate of its authority{_certificate_variables()}",
            )
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
            return FailedError("account", f"{host} does not speak TLS: begin {address.origin} with http://")
    if "LocalProtocolError" in names or isinstance(error, UnicodeError):
        return FailedError("account", f"a header cannot be sent: check {', '.join(HEADERS)}")
    if "TooManyRedirects" in names:
        return FailedError("account", f"{address.url} redirects again and again: check {address.origin}")
    if "UnsupportedProtocol" in names:
        return FailedError("account", f"the address {address.url} cannot be used: check {address.origin}")
    if "ProxyError" in names:
        return FailedError("account", f"the proxy of {proxy or 'the environment'} refuses ({causes[-1]})")
    kind = "transport" if reached else "account"
    hint = f": check {proxy}, or add the host to NO_PROXY" if proxy else f": check {address.origin} and that it runs"
    if "gaierror" in names:
        what = f"the name of the host cannot be found{through or f' ({host})'}"
        return FailedError(kind, what + hint)  # type: ignore[arg-type]
    if "ConnectionRefusedError" in names:
        return FailedError(kind, f"connection refused{through or f' by {host}'}" + hint)  # type: ignore[arg-type]
    if "ConnectTimeout" in names:
        return FailedError(kind, f"no connection{through or f' to {host}'} in time" + hint)  # type: ignore[arg-type]
    if "ConnectError" in names:
        return FailedError(kind, f"no connection{through or f' to {host}'} ({causes[-1]})" + hint)  # type: ignore[arg-type]
    return FailedError("transport", "connection lost", "" if reached else f"{causes[-1]}")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in found:
        found.append(inner)
        inner = inner.__cause__ or inner.__context__
    return found


def _certificate_variables() -> str:
    names = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    shown = ", ".join(f"{name} is {os.environ[name]}" for name in names)
    return f" (now {shown})" if shown else ""


def _proxy_of(url: str) -> str | None:
    """The variable whose proxy the address is asked through; None without one."""
    parts = urlsplit(url)
    proxies = getproxies()
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    return None if scheme is None else _shown(_variable(f"{scheme}_proxy"), proxies[scheme])


def _proxy_variables(start: str = "") -> str:
    found = [
        _shown(_variable(f"{scheme}_proxy"), value)
        for scheme, value in getproxies().items()
        if scheme in ("http", "https", "all", "no") and value.startswith(start)
    ]
    return " or ".join(found) or "a variable such as HTTP_PROXY"


def _variable(name: str) -> str:
    return name if name in os.environ else name.upper()


def _shown(variable: str, value: str) -> str:
    return f"{variable} ({re.sub(r'//[^/@]*@', '//', value)})"
