"""The known shapes of secrets: one row per shape, each with a literal that it always carries.

Data for `redaction`, which applies it; nothing here looks at a text. A row's pattern starts
with the literal or within a few bounded characters of it, so that matching stays linear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_L = r"(?<![A-Za-z0-9_])"  # no key begins inside a longer word
_R = r"(?![A-Za-z0-9_])"
_SLUG = "A-Za-z0-9_\\-"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One shape: `pattern` is tried where a text holds one of `needles`.

    The group named "secret" is what goes, else the whole match. `fold` compares needles without
    case; `certain` shapes are taken even where they look like an example.
    """

    name: str
    source: str
    needles: tuple[str, ...]
    fold: bool = False
    certain: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when a text first carries one of the needles: most never do."""
        return re.compile(self.source, re.IGNORECASE if self.fold else re.NOFLAG)


def _key(name: str, needles: str, body: str) -> Rule:
    """A token of its own: a literal start and a body, not part of a longer word."""
    return Rule(name=name, source=_L + body + _R, needles=tuple(needles.split()))


def _phrase(name: str, needles: str, pattern: str, *, certain: bool = False) -> Rule:
    """A secret inside a phrase whose case does not matter."""
    return Rule(
        name=name, source=pattern, needles=tuple(needles.split()), fold=True, certain=certain
    )


_PEM_BODY = r"(?:[A-Za-z0-9+/=\s\\\"',]|(?<=\n)-(?!-))"

RULES: tuple[Rule, ...] = (
    Rule(
        name="private-key",
        source=(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[\s\\nr\"'+|>#-]{0,20}(?:[A-Z][A-Za-z-]{2,20}: [^\n\\]{0,200}(?:\n|\\n)){0,20})"
            r"[\s\\nr\"'+|>#-]{0,20}[A-Za-z0-9+/=]{16}"
            + _PEM_BODY
            + r"*(?:-----END[^-\n]{0,60}-----)?"
        ),
        needles=("PRIVATE KEY",),
        certain=True,
    ),
    _phrase(
        "putty-key",
        "private-lines:",
        r"private-lines: \d{1,3}\r?\n(?P<secret>(?:[a-z0-9+/=]+\n)*[a-z0-9+/=]+)(?=\n|$)",
        certain=True,
    ),
    _key("age-key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{50,60}"),
    # clouds
    _key("aws-access-key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    _phrase(
        "aws-secret-key",
        "aws",
        r"aws[\w .-]{0,30}(?:secret|key)[\w .-]{0,20}[\"']?\s{0,3}(?:=>|[:=])"
        r"\s{0,3}[\"']?(?P<secret>[a-z0-9/+]{40})(?![a-z0-9/+=])",
    ),
    _key("google-api-key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
    _key("google-oauth-secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    _key("google-oauth-token", "ya29.", rf"ya29\.[{_SLUG}]{{30,400}}"),
    _phrase("azure-storage-key", "accountkey=", r"accountkey=(?P<secret>[a-z0-9+/]{86}==)"),
    _key("azure-client-secret", "8Q~ 7Q~", r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    _phrase("azure-signature", "sig=", r"[?&]sig=(?P<secret>[a-z0-9%+/]{43,60}(?:=|%3d))"),
    _key("digitalocean-token", "_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    _key("alibaba-key", "LTAI", r"LTAI[A-Za-z0-9]{20}"),
    _key("tencent-key", "AKID", r"AKID[A-Za-z0-9]{32}"),
    _key("heroku-key", "HRKU-", rf"HRKU-[{_SLUG}]{{36,70}}"),
    _key("fly-token", "fm2_ fo1_", rf"(?:fm2_[A-Za-z0-9+/=_-]{{60,800}}|fo1_[{_SLUG}]{{43}})"),
    _key("databricks-token", "dapi", r"dapi[a-f0-9]{32}(?:-\d)?"),
    _key("pulumi-token", "pul-", r"pul-[a-f0-9]{40}"),
    _key("terraform-token", ".atlasv1.", rf"[A-Za-z0-9]{{14}}\.atlasv1\.[{_SLUG}]{{60,80}}"),
    _key("vault-token", "hvs. hvb. hvr.", rf"hv[sbr]\.[{_SLUG}]{{24,300}}"),
    _key(
        "doppler-token",
        "dp.",
        r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    ),
    _key("planetscale-token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}"),
    _key(
        "supabase-token", "sbp_ sb_secret_", r"(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,60})"
    ),
    _key(
        "tailscale-key",
        "tskey-",
        r"tskey-(?:auth|api|client|webhook)-[A-Za-z0-9]{8,20}-[A-Za-z0-9]{20,50}",
    ),
    _key("dynatrace-token", "dt0c01.", r"dt0c01\.[A-Z2-7]{24}\.[A-Z2-7]{64}"),
    # forges, registries, builds
    _key("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    _key("github-fine-grained", "github_pat_", r"github_pat_[A-Za-z0-9_]{60,100}"),
    _key(
        "gitlab-token",
        "glpat- gldt- glrt- glptt- glft- glsoat- glcbt- gloas-",
        rf"gl(?:pat|dt|rt|ptt|ft|soat|cbt|oas)-[{_SLUG}.]{{20,70}}",
    ),
    _key("bitbucket-token", "ATBB", r"ATBB[A-Za-z0-9]{32}"),
    _key("atlassian-token", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{100,220}"),
    _key("pypi-token", "pypi-AgE", rf"pypi-AgE[{_SLUG}]{{50,300}}"),
    _key("npm-token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _phrase(
        "npm-auth", "_authtoken", r"_authtoken\s{0,3}=\s{0,3}(?P<secret>[a-z0-9_=+/-]{20,200})"
    ),
    _key("rubygems-token", "rubygems_", r"rubygems_[a-f0-9]{48}"),
    _key("crates-token", "cio", r"cio[A-Za-z0-9]{32}"),
    _key("docker-token", "dckr_", rf"dckr_(?:pat|oat)_[{_SLUG}]{{27,40}}"),
    _key("circleci-token", "CCIPAT_", r"CCIPAT_[A-Za-z0-9]{20,24}_[a-f0-9]{40}"),
    _key("buildkite-token", "bkua_", r"bkua_[a-f0-9]{40}"),
    _key("artifactory-key", "AKCp", r"AKCp[A-Za-z0-9]{69}"),
    # models
    _key(
        "openai-key",
        "sk-",
        r"sk-(?:(?:proj|svcacct|admin|None)-)?[A-Za-z0-9_-]{20,100}T3BlbkFJ[A-Za-z0-9_-]{20,100}",
    ),
    _key("openai-project-key", "sk-proj-", rf"sk-proj-[{_SLUG}]{{40,200}}"),
    _key("anthropic-key", "sk-ant-", rf"sk-ant-(?:api|admin|oat|sid)\d\d-[{_SLUG}]{{80,120}}"),
    _key("openrouter-key", "sk-or-", r"sk-or-v1-[a-f0-9]{64}"),
    _key("huggingface-token", "hf_", r"hf_[A-Za-z0-9]{34}"),
    _key("replicate-token", "r8_", r"r8_[A-Za-z0-9]{37}"),
    _key("groq-key", "gsk_", r"gsk_[A-Za-z0-9]{52}"),
    _key("perplexity-key", "pplx-", r"pplx-[A-Za-z0-9]{48}"),
    # messages, money, observation, desks
    _key(
        "slack-token",
        "xox xapp-",
        rf"(?:xox[abeoprs](?:\.xox[bp])?-[{_SLUG}]{{20,250}}|xapp-\d-[{_SLUG}]{{20,200}})",
    ),
    _phrase(
        "slack-webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?P<secret>(?:services|workflows|triggers)/[a-z0-9/+_-]{30,120})",
    ),
    _phrase(
        "discord-webhook",
        "/api/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/(?P<secret>\d{15,21}/[a-z0-9_-]{50,90})",
    ),
    _key("discord-token", ".", rf"[MNO][A-Za-z0-9_-]{{23,27}}\.[{_SLUG}]{{6}}\.[{_SLUG}]{{27,40}}"),
    _key("telegram-token", ":AA", rf"\d{{8,10}}:AA[{_SLUG}]{{33}}"),
    _phrase(
        "teams-webhook",
        "webhook.office.com",
        r"webhook\.office\.com/(?P<secret>webhookb2/[a-z0-9@/-]{60,200})",
    ),
    _key("sendgrid-key", "SG.", rf"SG\.[{_SLUG}]{{16,32}}\.[{_SLUG}]{{16,64}}"),
    _key("mailgun-key", "key-", r"key-[0-9a-f]{32}"),
    _key("mailchimp-key", "-us", r"[0-9a-f]{32}-us\d{1,2}"),
    _key("twilio-key", "SK", r"SK[0-9a-f]{32}"),
    _key(
        "stripe-key",
        "sk_ rk_ whsec_",
        r"(?:(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,247}|whsec_[A-Za-z0-9+/=]{32,64})",
    ),
    _key("square-token", "sq0", rf"sq0(?:atp|csp)-[{_SLUG}]{{22,43}}"),
    _key("shopify-token", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    _key("newrelic-key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    _key(
        "grafana-token",
        "glsa_ glc_",
        r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/=]{32,400})",
    ),
    _key("sentry-token", "sntry", r"sntry(?:u_[a-f0-9]{64}|s_[A-Za-z0-9+/=_-]{60,400})"),
    _key("linear-key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    _key("notion-token", "ntn_", r"ntn_[A-Za-z0-9]{40,60}"),
    _key("figma-token", "figd_", rf"figd_[{_SLUG}]{{38,50}}"),
    _key("postman-key", "PMAK-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    _key("airtable-token", "pat", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    # any issuer
    # the head stops where another one may begin: else each of many would be followed to the end
    _key(
        "jwt",
        "eyJ",
        rf"eyJ(?:(?!-eyJ)[{_SLUG}]){{10,4000}}+\.eyJ[{_SLUG}]{{10,8000}}+\.[{_SLUG}]{{10,2000}}",
    ),
    _phrase(
        "url-password",
        "://",
        r"(?<=://)[^\s:/?#@\[\]\"'<>{}]{0,80}:(?P<secret>[^\s:/?#@\[\]\"'<>{}$()]{3,200})(?=@[\w\[])",
    ),
    _phrase(
        "authorization",
        "authorization",
        r"authorization[\"']?\s{0,3}[:=,]\s{0,3}[\"']?(?:bearer|basic|token|apikey)\s{1,3}(?P<secret>[a-z0-9._~+/=-]{16,2000})",
    ),
    _phrase(
        "netrc-password",
        "machine",
        r"\bmachine\s{1,4}[\w.-]{1,80}\s{1,4}login\s{1,4}\S{1,80}\s{1,4}password\s{1,4}(?P<secret>\S{4,200})",
    ),
)

_NAMES = (
    r"(?P<name>secret|token(?!i[sz]|_?type)|passw(?:or)?d|passphrase|api[_-]?key|apikey|access[_-]?key|auth[_-]?key|"
    r"private[_-]?key|client[_-]?secret|encryption[_-]?key|signing[_-]?key|credential|bearer)"
)
_TELLING = (
    "secret token passw passphrase api_key api-key apikey access_key access-key accesskey auth_key "
    "auth-key authkey private_key private-key privatekey encryption signing credential bearer"
)
_NEEDLES = tuple(_TELLING.split())

ASSIGNMENT = Rule(
    name="assigned-secret",
    source=(
        _NAMES + r"[\w-]{0,24}[\"'\]]{0,2}\s{0,4}(?::\s{0,2}\w{1,12}\s{0,2})?(?:=>|:=|[:=])\s{0,4}"
        r"[rbuf]{0,2}(?P<quote>[\"'])(?P<secret>[^\"'\s\[\](),;|\\]{8,200})(?P=quote)"
    ),
    needles=_NEEDLES,
    fold=True,
)
"""A quoted literal given to a telling name, in any language."""

ENVIRONMENT = Rule(
    name="assigned-secret",
    source=(
        r"(?m)^[+ -]?[ \t]{0,8}(?:export[ \t]{1,3})?(?=[\w-]{0,60}?"
        + _NAMES.replace("?P<name>", "?:")
        + r")(?P<name>[\w-]{2,80})[ \t]{0,2}[=:][ \t]{0,2}"
        r"(?P<secret>[^\s\"'\[\](),;|\\.]{8,200})[ \t]*$"
    ),
    needles=_NEEDLES,
    fold=True,
)
"""An unquoted value on a line of its own: an environment file, YAML, a shell script."""
