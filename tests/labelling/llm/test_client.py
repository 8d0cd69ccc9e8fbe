"""What is wrong on the client's side is found before anything is sent, and the cause is told."""

import socket
import ssl
import subprocess
import time

import certifi
import pytest

from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller
from misodice.labelling.llm.address import Address, identity_of
from misodice.labelling.llm.client import make_client
from tests.helpers.fake_openai import serve
from tests.labelling.llm.test_llm import FAST, KEY, open_file

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    names = ("OPENAI_BASE_URL", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
    for name in (*names, *PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


def stop(battles, tmp_path, url, **options) -> str:
    """What the run stops with; it takes no time, since nothing is tried again."""
    began = time.monotonic()
    with pytest.raises(MisodiceError) as caught:
        LLMLabeller(base_url=url, **{**FAST, "backoff": 60.0, **options}).label(battles, open_file(battles, tmp_path))
    assert time.monotonic() - began < 30
    message = str(caught.value)
    assert "\n" not in message
    assert KEY not in message
    assert "connection lost" not in message
    return message


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f"{KEY}\n", "ends with a line end"),
        (f"{KEY}\r\n", "ends with a line end"),
        (f" {KEY}", "begins or ends with a blank"),
        (f"{KEY}\t", "begins or ends with a blank"),
        (f'"{KEY}"', "stands in quotation marks"),
        (f"'{KEY}'", "stands in quotation marks"),
        (f"“{KEY}”", "holds the character U+201C at place 1"),
        (f"{KEY}\u200b", "holds the character U+200B"),
        ("sk test", "holds a blank at place 3"),
        ("sk\ntest", "holds the character U+000A at place 3"),
        (f"Bearer {KEY}", "holds a blank at place 7"),
        ("schlüssel", "holds the character U+00FC at place 5"),
        ("  ", "holds blanks alone"),
    ],
)
def test_a_key_that_cannot_be_sent(battles, tmp_path, monkeypatch, key, words):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serve() as fake:
        message = stop(battles, tmp_path, fake.url)
        assert not fake.log
    assert f"OPENAI_API_KEY {words}" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
def test_other_headers(battles, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "org\n")
    assert f"{name} ends with a line end" in stop(battles, tmp_path, "http://127.0.0.1:1/v1")
    monkeypatch.setenv(name, "“org”")
    assert f"{name} holds the character U+201C" in stop(battles, tmp_path, "http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:8000/v1", "does not begin with http:// or https://"),
        ("localhost:8000/v1", "does not begin with http:// or https://"),
        ("example/v1", "does not begin with http:// or https://"),
        ("http:/localhost/v1", "does not begin with http:// or https://"),
        ("htp://localhost/v1", "does not begin with http:// or https://"),
        ("http:///v1", "names no host"),
        ("http://http://127.0.0.1:1", "begins with http:// or https:// twice"),
        ("https://HTTP://host/v1", "begins with http:// or https:// twice"),
        ("http://a..b/v1", "names a host that cannot be (a..b)"),
        (f"http://{'a' * 64}.com/v1", "names a host that cannot be"),
        ("http://localhost:99999/v1", "is no address"),
        ("http://localhost:abc/v1", "is no address"),
        ("http://localhost:0/v1", "names port 0"),
        ("http://[::1/v1", "is no address"),
        ("http://local host/v1", "holds a blank or a line end"),
        ('"http://localhost/v1"', "begins with a quotation mark"),
        ("", "is empty"),
        ("  ", "is empty"),
    ],
)
def test_an_address_that_is_none(monkeypatch, url, words):
    with pytest.raises(MisodiceError, match=r"labeller\.base_url") as caught:
        LLMLabeller(base_url=url)
    assert words in str(caught.value)
    if url.strip():
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(MisodiceError, match="OPENAI_BASE_URL") as caught:
            Address.of(None)
        assert words in str(caught.value)


@pytest.mark.parametrize("host", ["☃.net", "a_ü"])
def test_a_host_that_is_no_name_is_not_told_as_a_proxy(battles, tmp_path, host):
    message = stop(battles, tmp_path, f"http://{host}/v1")
    assert f"labeller.base_url is no address (Invalid IDNA hostname: '{host}')" in message
    assert "proxy" not in message


def test_a_final_slash_changes_no_identity():
    assert identity_of("http://host/v1/") == identity_of("http://host/v1") == "http://host/v1"
    assert identity_of("http://host/") == identity_of("http://host//") == "http://host"


def test_a_log_of_tls_keys_that_cannot_be_written(battles, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())  # the file of keys is opened with certificates of one's own
    for path in (tmp_path / "no" / "x", tmp_path):
        monkeypatch.setenv("SSLKEYLOGFILE", str(path))
        message = stop(battles, tmp_path / "run", "https://127.0.0.1:1/v1")
        assert f"SSLKEYLOGFILE names '{path}', which cannot be written" in message
        assert "SSL_CERT" not in message


def test_an_empty_variable_does_not_send_the_key_elsewhere(monkeypatch):
    for empty in ("", " "):
        monkeypatch.setenv("OPENAI_BASE_URL", empty)
        with pytest.raises(
            MisodiceError, match="OPENAI_BASE_URL is empty; set it to the server's address, or unset it"
        ):
            Address.of(None)
        assert Address.of("http://localhost:8000/v1").url == "http://localhost:8000/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert Address.of(None).url == "https://api.openai.com/v1"


def test_the_endpoint_is_not_added_twice(battles, tmp_path, monkeypatch):
    with serve() as fake:
        for end in ("/chat/completions", "/chat/completions/", ""):
            monkeypatch.setenv("OPENAI_BASE_URL", f" {fake.url}{end}\n")
            LLMLabeller(**FAST).label(battles, open_file(battles, tmp_path / (end or "plain").replace("/", "_")))
            assert identity_of(None) == identity_of(f"{fake.url}{end}") == fake.url
        assert {entry["path"] for entry in fake.log} == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/v1", "http://host/v1?api-key=secret", "http://host/v1?sig=secret"]
)
def test_a_secret_in_the_address_is_refused(url):
    with pytest.raises(MisodiceError, match=r"would be written into config\.yaml") as caught:
        LLMLabeller(base_url=url)
    assert "=secret" not in str(caught.value)
    assert ":secret" not in str(caught.value)


def test_azure_gets_its_version_its_deployment_and_its_header(battles, tmp_path):
    with serve() as fake:
        root = fake.url.removesuffix("/v1")
        ways = {
            "deployment": (f"{root}/openai/deployments/mine", {"query": {"api-version": "2024-10-21"}}),
            "model": (f"{root}/openai?api-version=2024-10-21", {"model": "mine"}),
        }
        for name, (url, options) in ways.items():
            LLMLabeller(base_url=url, **FAST, **options).label(battles, open_file(battles, tmp_path / name))
        assert {entry["path"] for entry in fake.log} == {
            "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
        }
        assert {(entry["api-key"], entry["key"]) for entry in fake.log} == {(KEY, None)}
        fake.log.clear()
        newer = LLMLabeller(base_url=f"{root}/openai/v1", query={"api-version": "preview"}, **FAST)
        newer.label(battles, open_file(battles, tmp_path / "v1"))
        assert {entry["path"] for entry in fake.log} == {"/openai/v1/chat/completions?api-version=preview"}
        assert {(entry["api-key"], entry["key"]) for entry in fake.log} == {(None, f"Bearer {KEY}")}


def test_the_version_is_not_part_of_what_answers_depend_on():
    plain = LLMLabeller(base_url="http://host/openai").identity()
    assert plain == LLMLabeller(base_url="http://host/openai?api-version=1").identity()
    assert plain == LLMLabeller(base_url="http://host/openai", query={"api-version": "2"}).identity()


def test_a_refused_port_and_an_unknown_host_are_told_at_once(battles, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    message = stop(battles, tmp_path, f"http://127.0.0.1:{port}/v1")
    assert f"connection refused by 127.0.0.1:{port}: check labeller.base_url and that it runs" in message
    message = stop(battles, tmp_path, "http://no-such-host.invalid/v1")
    assert "the name of the host cannot be found (no-such-host.invalid)" in message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    options = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    names = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", *options, *names], capture_output=True)
    if made.returncode:
        pytest.skip("needs openssl")
    return folder


def test_certificates(battles, tmp_path, monkeypatch, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serve(tls=context) as fake:
        message = stop(battles, tmp_path, fake.url)
        assert "the certificate of 127.0.0.1" in message
        assert "set SSL_CERT_FILE" in message
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        LLMLabeller(base_url=fake.url, **FAST).label(battles, open_file(battles, tmp_path))
    with serve() as plain:
        message = stop(battles, tmp_path / "plain", plain.url.replace("http:", "https:"))
        assert "does not speak TLS: begin labeller.base_url with http://" in message


def test_certificate_files_that_are_none(battles, tmp_path, monkeypatch):
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for name, words in (("absent.pem", "which is no file"), ("empty.pem", "cannot be read")):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        message = stop(battles, tmp_path / "run", "https://127.0.0.1:1/v1")
        assert "SSL_CERT_FILE" in message
        assert name in message
        assert words in message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "ALL_PROXY (socks5://127.0.0.1:1080) names a SOCKS proxy"),
        ("http_proxy", "socks5h://127.0.0.1:1080", "http_proxy (socks5h://127.0.0.1:1080) names a SOCKS proxy"),
        ("HTTP_PROXY", "nonsense://x", "HTTP_PROXY (nonsense://x) cannot be used as a proxy"),
        ("HTTPS_PROXY", "http://127.0.0.1:abc", "HTTPS_PROXY (http://127.0.0.1:abc) cannot be used as a proxy"),
        ("HTTP_PROXY", "http://me:secret@127.0.0.1:1", "through the proxy of HTTP_PROXY (http://127.0.0.1:1)"),
        ("HTTP_PROXY", "http://no-such-host.invalid", "through the proxy of HTTP_PROXY"),
        ("HTTP_PROXY", "hello world", "through the proxy of HTTP_PROXY"),
    ],
)
def test_proxies(battles, tmp_path, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with serve() as fake:
        message = stop(battles, tmp_path, fake.url)
        assert not fake.log
        assert words in message
        assert "NO_PROXY" in message
        assert "secret" not in message
        if "cannot be used" not in message and "SOCKS" not in message:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            LLMLabeller(base_url=fake.url, **FAST).label(battles, open_file(battles, tmp_path))


def test_a_client_has_no_retries_of_its_own():
    assert make_client(Address.of("http://localhost/v1"), KEY, 5.0).max_retries == 0
