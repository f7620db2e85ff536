"""Secrets are found by their shape, taken out whole, and real code is left alone.

The keys here are made up at run time from a seeded generator, so none was ever valid.
"""

import random
import re
import string
import time
from re import _parser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from self_coding.redaction import detect, find_secrets, is_secret_path, redact

DICE = random.Random(11)
MIXED = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def roll(size: int, alphabet: str = MIXED) -> str:
    return "".join(DICE.choice(alphabet) for _ in range(size))


def pem(kind: str = "RSA ", lines: int = 12) -> str:
    body = "\n".join(roll(64) for _ in range(lines))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


UPPER = string.ascii_uppercase + string.digits
# (rule, the text around the canary, the canary)
CANARIES = [
    ("private-key", "{}", pem()),
    ("private-key", "{}", pem("OPENSSH ")),
    ("private-key", "{}", pem("ENCRYPTED ")),
    ("private-key", 'KEY = "{}"', pem("EC ", 4).replace("\n", "\\n")),
    ("putty-key", "Private-Lines: 2\n{}", f"{roll(64)}\n{roll(40)}"),
    ("age-key", "{}", "AGE-SECRET-KEY-1" + roll(58, UPPER)),
    ("aws-access-key", "id = {}", "AKIA" + roll(16, UPPER)),
    ("aws-secret-key", 'aws_secret_access_key = "{}"', roll(40)),
    ("google-api-key", "{}", "AIza" + roll(35)),
    ("google-oauth-secret", "{}", "GOCSPX-" + roll(28)),
    ("google-oauth-token", "{}", "ya29." + roll(60)),
    ("azure-storage-key", "x;AccountKey={};y", roll(86) + "=="),
    ("azure-client-secret", "{}", roll(3) + "8Q~" + roll(34)),
    ("azure-signature", "https://h/x?sv=1&sig={}", roll(43) + "%3D"),
    ("digitalocean-token", "{}", "dop_v1_" + roll(64, HEX)),
    ("alibaba-key", "{}", "LTAI" + roll(20)),
    ("tencent-key", "{}", "AKID" + roll(32)),
    ("heroku-key", "{}", "HRKU-" + roll(60)),
    ("fly-token", "{}", "fo1_" + roll(43)),
    ("databricks-token", "{}", "dapi" + roll(32, HEX)),
    ("pulumi-token", "{}", "pul-" + roll(40, HEX)),
    ("terraform-token", "{}", roll(14) + ".atlasv1." + roll(66)),
    ("vault-token", "{}", "hvs." + roll(90)),
    ("doppler-token", "{}", "dp.pt." + roll(43)),
    ("planetscale-token", "{}", "pscale_tkn_" + roll(43)),
    ("supabase-token", "{}", "sbp_" + roll(40, HEX)),
    ("tailscale-key", "{}", f"tskey-auth-{roll(12)}-{roll(32)}"),
    ("dynatrace-token", "{}", "dt0c01." + roll(24, "ABC234") + "." + roll(64, "ABC234")),
    ("github-token", "{}", "ghp_" + roll(36)),
    ("github-fine-grained", "{}", "github_pat_" + roll(82)),
    ("gitlab-token", "{}", "glpat-" + roll(20)),
    ("bitbucket-token", "{}", "ATBB" + roll(32)),
    ("atlassian-token", "{}", "ATATT3" + roll(186)),
    ("pypi-token", "{}", "pypi-AgEIcHlwaS5vcmc" + roll(150)),
    ("npm-token", "{}", "npm_" + roll(36)),
    ("npm-auth", "//registry/:_authToken={}", roll(36)),
    ("rubygems-token", "{}", "rubygems_" + roll(48, HEX)),
    ("crates-token", "{}", "cio" + roll(32)),
    ("docker-token", "{}", "dckr_pat_" + roll(27)),
    ("circleci-token", "{}", f"CCIPAT_{roll(22)}_{roll(40, HEX)}"),
    ("buildkite-token", "{}", "bkua_" + roll(40, HEX)),
    ("artifactory-key", "{}", "AKCp" + roll(69)),
    ("openai-key", "{}", "sk-" + roll(20) + "T3BlbkFJ" + roll(20)),
    ("openai-project-key", "{}", "sk-proj-" + roll(100)),
    ("anthropic-key", "{}", "sk-ant-api03-" + roll(95)),
    ("openrouter-key", "{}", "sk-or-v1-" + roll(64, HEX)),
    ("huggingface-token", "{}", "hf_" + roll(34)),
    ("replicate-token", "{}", "r8_" + roll(37)),
    ("groq-key", "{}", "gsk_" + roll(52)),
    ("perplexity-key", "{}", "pplx-" + roll(48)),
    ("slack-token", "{}", f"xoxb-{roll(12, string.digits)}-{roll(24)}"),
    ("slack-webhook", "https://hooks.slack.com/{}", f"services/T{roll(8)}/B{roll(8)}/{roll(24)}"),
    ("discord-webhook", "https://discord.com/api/webhooks/{}", f"9{roll(17, '12345')}/{roll(68)}"),
    ("discord-token", "{}", f"M{roll(23)}.{roll(6)}.{roll(27)}"),
    ("telegram-token", "{}", f"8{roll(9, '2357')}:AA{roll(33)}"),
    ("teams-webhook", "https://a.webhook.office.com/{}", "webhookb2/" + roll(80)),
    ("sendgrid-key", "{}", f"SG.{roll(22)}.{roll(43)}"),
    ("mailgun-key", "{}", "key-" + roll(32, HEX)),
    ("mailchimp-key", "{}", roll(32, HEX) + "-us12"),
    ("twilio-key", "{}", "SK" + roll(32, HEX)),
    ("stripe-key", "{}", "sk_live_" + roll(24)),
    ("square-token", "{}", "sq0atp-" + roll(22)),
    ("shopify-token", "{}", "shpat_" + roll(32, HEX)),
    ("newrelic-key", "{}", "NRAK-" + roll(27, UPPER)),
    ("grafana-token", "{}", f"glsa_{roll(32)}_{roll(8, HEX)}"),
    ("sentry-token", "{}", "sntryu_" + roll(64, HEX)),
    ("linear-key", "{}", "lin_api_" + roll(40)),
    ("notion-token", "{}", "ntn_" + roll(46)),
    ("figma-token", "{}", "figd_" + roll(40)),
    ("postman-key", "{}", f"PMAK-{roll(24, HEX)}-{roll(34, HEX)}"),
    ("airtable-token", "{}", f"pat{roll(14)}.{roll(64, HEX)}"),
    ("jwt", "{}", f"eyJ{roll(30)}.eyJ{roll(60)}.{roll(43)}"),
    ("url-password", "postgresql://timmy:{}@db.internal/x", "Tr0ub4dor&3"),
    ("authorization", "Authorization: Bearer {}", roll(40)),
    ("netrc-password", "machine h login timmy password {}", "kT9wqz81"),
    ("assigned-secret", 'DB_PASSWORD = "{}"', "kT9!wqz81Lm"),
    ("assigned-secret", "'client_secret': '{}'", roll(32)),
    ("assigned-secret", "export SESSION_TOKEN={}", roll(32)),
    ("assigned-secret", "+SIGNING_KEY={}", roll(40)),
]


def test_canaries_cover_every_rule() -> None:
    """No rule is in the table without a canary that only it is named for."""
    from self_coding.redaction.rules import ASSIGNMENT, RULES

    rules = {rule.name for rule in (*RULES, ASSIGNMENT)}
    planted = {rule for rule, _, _ in CANARIES}
    assert planted == rules, f"CANARIES needs a row for {rules - planted}"
    assert len(planted) >= 50


@pytest.mark.parametrize(("rule", "frame", "canary"), CANARIES, ids=[c[0] for c in CANARIES])
def test_every_format_is_found_and_gone(rule: str, frame: str, canary: str) -> None:
    """A planted key is named by its rule and line, and no part of it is left."""
    text = f"first = 1\nsecond = {{}}\n{frame.format(canary)}\nlast = 2\n"
    found = find_secrets(text)
    assert [secret.rule for secret in found] == [rule]
    assert text[: found[0].start].count("\n") + 1 == found[0].line >= 3
    clean = redact(text)
    assert f"[redacted: {rule}]" in clean
    body = canary.splitlines()[-2 if rule == "private-key" and "\n" in canary else -1]
    assert body[-6:] not in clean.replace("[redacted", "")
    assert clean.startswith("first = 1\nsecond = {}\n")
    assert clean.endswith("\nlast = 2\n")
    assert redact(clean) == clean


HARMLESS = [
    'api_key = "YOUR_API_KEY_GOES_HERE_12345"',
    'password = "password"',
    'token = "some_identifier_of_ours_2"',
    "AKIAIOSFODNN7EXAMPLE",
    "postgresql://user:password@localhost/db",
    "postgresql://user:${PASSWORD}@localhost/db",
    'tokenizer = "l3_supercat_tokenizer_config.json"',
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 4366342aa0ffb4366342aa0ffb4366342aa0ffb4",
    'secret = os.environ["SECRET_TOKEN_2"]',
    "-----BEGIN PRIVATE KEY----- is how such a file starts.",
    "def token(self) -> str: return self._token1",
    'TOKEN_TYPE = "urn:params:oauth:token-type:x509"',
    'auth_token: "{{ vault.token_1 }}"',
    "password_field=PasswordField2",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_examples_and_code_are_left_alone(text: str) -> None:
    """Placeholders, documented examples, identifiers and hashes are no secrets."""
    assert find_secrets(text) == []
    assert redact(text) == text


def test_a_key_removed_by_a_diff_goes_too() -> None:
    """Each line of a private key in a patch carries a sign; all lines go."""
    patch = "\n".join(f"-{line}" for line in pem().splitlines())
    clean = redact(f"@@ -1 +1 @@\n{patch}\n+x = 1\n")
    assert clean.startswith("@@ -1 +1 @@\n-[redacted: private-key]")
    assert clean.endswith("+x = 1\n")


def test_a_key_cut_off_in_the_middle_goes_too() -> None:
    """A private key without its end line is still taken out."""
    cut = pem().rpartition("-----END")[0]
    assert redact(cut).strip() == "[redacted: private-key]"


def test_escapes_cannot_hide_a_secret() -> None:
    """Colour codes and control characters inside a key go first, then the key."""
    key = "ghp_" + roll(36)
    assert redact(f"{key[:9]}\x1b[31m{key[9:20]}\x00{key[20:]}") == "[redacted: github-token]"


def test_terminal_commands_go() -> None:
    """Nothing that a terminal would obey is left; text, tabs and line ends stay."""
    text = "a\x1b[1;31mred\x1b[0m\tb\r\n\x1b]0;title\x07c\x9b2Jd\x7f\x00\u202ee\ud800"
    assert redact(text) == "ared\tb\ncde\ufffd"


def test_progress_bars_become_lines() -> None:
    """A lone carriage return ends a line, so that nothing is joined or painted over."""
    assert redact("50%\r60%\rdone\n") == "50%\n60%\ndone\n"


def test_neighbours_are_told_apart() -> None:
    """Two secrets in a line are two findings in order, without overlap."""
    found = find_secrets(f"{'ghp_' + roll(36)} npm_{roll(36)}")
    assert [secret.rule for secret in found] == ["github-token", "npm-token"]
    assert found[0].end < found[1].start


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.sampled_from([frame.format(canary) for _, frame, canary in CANARIES]),
            st.sampled_from(
                ['password="', "token=", "://u:", "@h", "\x1b[", "\x1b]", "-----BEGIN "]
            ),
        ),
        max_size=8,
    )
)
def test_redacting_twice_changes_nothing(parts: list[str]) -> None:
    """The result holds no secret and no control character, whatever goes in."""
    once = redact("".join(parts))
    assert redact(once) == once
    assert find_secrets(once) == []
    once.encode()


@pytest.mark.parametrize(
    "unit",
    [
        "x = compute(token, secret)\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJ" + "a" * 4000 + ".",
        "secret" * 10,
        "aws secret key ",
        "https://aaaaaaaaaaaaaaaaaaaaaaaa:",
        "\x1b]",
        "M" * 50 + ".",
        "a" * 1000,
        "password = 'x",
        "token_",
    ],
)
def test_a_megabyte_is_quick(unit: str) -> None:
    """Time grows with the text only: a megabyte of the worst kind stays under three seconds."""
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    start = time.process_time()
    redact(text)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "app/.env.production",
        ".ENV",
        "id_rsa",
        "keys/id_ed25519",
        "tls/server.PEM",
        "a.p12",
        "home/.aws/credentials",
        ".netrc",
        "config/secrets.yml",
        "secrets.prod.json",
        "client_secret_12.json",
        "infra/terraform.tfstate",
        "dir\\id_rsa",
        "service-account.json",
        ".env.local",
        ".env.test.local",
    ],
)
def test_secret_files_are_known_by_name(path: str) -> None:
    """A file that holds secrets by custom is named one, in any case and folder."""
    assert is_secret_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "conf/.env.sample",
        ".env.test",
        "id_rsa.pub",
        "environment.py",
        "secrets.py",
        "src/credentials.py",
        "tokens.json",
        "tests/test_env.py",
        "docker/config.json",
        "a/keys.py",
        "monkey.py",
    ],
)
def test_ordinary_files_are_not(path: str) -> None:
    """Templates, public halves and source files are no secret files."""
    assert not is_secret_path(path)


def test_no_token_is_shorter_than_the_words_looked_at() -> None:
    """Each token's shape is one word of at least the length below which words are passed over."""
    tokens = [rule for needle, rule in detect._EXACT if " " not in needle]
    assert len(tokens) > 50
    for rule in tokens:
        assert _parser.parse(rule.source).getwidth()[0] >= detect.TOKEN_LENGTH, rule.name
        assert not re.search(r"\\s|\[\^| ", rule.source), rule.name
