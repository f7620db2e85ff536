"""Find secrets in a text by their known shapes, and clean it for a record or a terminal.

Every rule needs a literal that real secrets of its kind carry, so a text without that literal
costs one substring search, and no pattern runs back over more than a bounded stretch.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from self_coding.redaction.rules import ASSIGNMENT, ENVIRONMENT, RULES

TOKEN_LENGTH = 20  # no token is shorter, and none has a space: ordinary text is soon passed over
_EXACT = tuple((needle, rule) for rule in RULES if not rule.fold for needle in rule.needles)
_FOLDED = tuple((needle, rule) for rule in RULES if rule.fold for needle in rule.needles)

_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # operating system command (titles, links)
    r"|\x1b[PX^_][^\x1b\n]*(?:\x1b\\)?"  # device control, start of string, privacy, program
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequence (colours, cursor)
    r"|\x1b[ -/]*[0-~]"
)
_CARRIAGE = re.compile(r"\r+\n?")
# C0 but tab and newline, DEL, C1, and the invisible marks that reorder what a person reads
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_PLACEHOLDER = re.compile(
    r"example|placeholder|change.?me|redacted|dummy|sample|not.?a.?(?:real|secret)|your[_\-. ]|"
    r"(.)\1{5}|012345678|123456789|abcdefgh|deadbeef|\.\.\.|[<>{}]|^test|xxxx",
    re.IGNORECASE,
)
_SHOWN = frozenset({"url-password", "netrc-password"})  # what tests and documents show
_SEPARATOR = re.compile(r"[_\-./:@ ]")
_EVERYDAY = (
    "password passwd pass pw pwd secret token pass123 password123 hunter2 admin root user guest "
    "postgres mysql redis test testing foo bar baz qux foobar foo:bar none null true false "
    "mypass mypassword mysecret mytoken pwd123 repo s3cret s3cr3t secret123 letmein qwerty"
)
_EVERYDAY_PASSWORDS = frozenset(_EVERYDAY.split())
_WORDY = re.compile(r"[A-Za-z]+(?:[_\-./: ][A-Za-z]+)*\d?")  # words, dotted names: never random

_CUSTOMARY = (
    ".env .netrc _netrc .pypirc .git-credentials .htpasswd .pgpass .my.cnf .s3cfg .boto "
    ".vault-token .dockercfg credentials credentials.json master.key wallet.dat .bash_history "
    ".zsh_history .python_history .psql_history id_rsa id_dsa id_ecdsa id_ed25519 id_ecdsa_sk "
    "id_ed25519_sk htpasswd terraform.tfstate"
)
_SECRET_NAMES = frozenset(_CUSTOMARY.split())
_SECRET_SUFFIXES = (
    *(".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".ovpn"),
    *(".tfstate", ".tfstate.backup"),
)
_SECRET_PLACES = (".aws/credentials", ".docker/config.json", ".kube/config", ".ssh/config")
_SECRET_SHAPE = re.compile(
    r"\.env\.(?!(?:[\w-]+\.)*(?:example|sample|template|tmpl|dist|defaults?|test|ci)$)[\w.-]+"
    r"|secrets?(?:\.[\w-]+)?\.(?:ya?ml|json|toml|ini|env|cfg)"
    r"|(?:client_secret|service[_-]?account)[\w.-]*\.json"
)


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret found in a text: the rule's name, its 1-based line, its half-open offsets.

    The value itself is not kept, so that a finding can be printed and stored.
    """

    rule: str
    line: int
    start: int
    end: int


def find_secrets(text: str, *, examples: bool = False) -> list[Secret]:
    """Return every secret in `text`, in order, none overlapping another; linear in the text.

    `examples`: the text is a test or a document, in which a password of a URL or a netrc line
    counts only where it looks random.
    """
    merged: list[tuple[int, int, str]] = []
    for start, end, rule in sorted(_spans(text), key=lambda span: (span[0], -span[1])):
        if examples and rule in _SHOWN and not _looks_random(text[start:end], password=False):
            continue
        if merged and start < merged[-1][1]:  # one secret, by the rule that starts first
            first = merged[-1]
            merged[-1] = (first[0], max(first[1], end), first[2])
        else:
            merged.append((start, end, rule))
    secrets: list[Secret] = []
    line, at = 1, 0
    for start, end, rule in merged:
        line += text.count("\n", at, start)
        at = start
        secrets.append(Secret(rule=rule, line=line, start=start, end=end))
    return secrets


def redact(text: str) -> str:
    """Return `text` without secrets and without anything a terminal would obey; doing it twice
    changes nothing more.

    A secret becomes `[redacted: RULE]`. Escape sequences, control characters (but tab and
    newline) and reordering marks go; a carriage return becomes a line end; a lone surrogate
    becomes U+FFFD, so that the result can always be encoded.
    """
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPE.sub("", text)
    if "\r" in text:
        text = _CARRIAGE.sub("\n", text)
    text = _CONTROL.sub("", text)
    text = text if text.isascii() else _SURROGATE.sub("\ufffd", text)
    while secrets := find_secrets(text):  # what is left around a mark may read as a secret, too
        parts: list[str] = []
        at = 0
        for secret in secrets:
            parts += (text[at : secret.start], f"[redacted: {secret.rule}]")
            at = secret.end
        text = "".join(parts) + text[at:]
    return text


def is_secret_path(path: str) -> bool:
    """Return whether a file of this name contains secrets by custom: `.env`, `id_rsa`, `*.pem`, ...

    Templates such as `.env.example` and public halves such as `id_rsa.pub` are not secrets.
    """
    folded = path.replace("\\", "/").lower().strip("/")
    name = folded.rpartition("/")[2]
    return (
        name in _SECRET_NAMES
        or name.endswith(_SECRET_SUFFIXES)
        or f"/{folded}".endswith(tuple(f"/{place}" for place in _SECRET_PLACES))
        or _SECRET_SHAPE.fullmatch(name) is not None
    )


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and rule of what each rule finds; they may overlap."""
    lowered = text.lower()
    words = " ".join([word for word in text.split() if len(word) >= TOKEN_LENGTH])
    candidates = [rule for needle, rule in _EXACT if needle in (text if " " in needle else words)]
    candidates += [rule for needle, rule in _FOLDED if needle in lowered]
    for rule in dict.fromkeys(candidates):
        group: str | int = "secret" if "secret" in rule.pattern.groupindex else 0
        for match in rule.pattern.finditer(text):
            if rule.certain or not _is_placeholder(match[group]):
                yield (*match.span(group), rule.name)
    if any(needle in lowered for needle in ASSIGNMENT.needles):
        for rule in (ASSIGNMENT, ENVIRONMENT):
            for match in rule.pattern.finditer(text):
                if _looks_random(match["secret"], password="pass" in match["name"].lower()):
                    yield (*match.span("secret"), rule.name)


def _is_placeholder(value: str) -> bool:
    return value.lower() in _EVERYDAY_PASSWORDS or _PLACEHOLDER.search(value) is not None


def _looks_random(value: str, *, password: bool) -> bool:
    """Return whether a quoted value beside a telling name is random enough to be the real thing."""
    if _is_placeholder(value) or _WORDY.fullmatch(value):
        return False
    if password:
        kinds = (str.isdigit, str.isupper, str.islower)
        mixed = sum(any(map(kind, value)) for kind in kinds) + (not value.isalnum())
        return mixed >= 3 and _entropy(value) >= 2.7
    # identifiers and file names also mix letters and digits, but in short words
    longest = max(_SEPARATOR.split(value), key=len)
    both = any(map(str.isdigit, longest)) and any(map(str.isalpha, longest))
    return len(value) >= 16 and len(longest) >= 10 and both and _entropy(value) >= 3.2


def _entropy(value: str) -> float:
    """Return Shannon's entropy in bits per character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())
