"""Messages arrive as signed requests, as mails and in the log, over TCP; the command tests all channels."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from openai import OpenAI
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from cluster.alerts.__main__ import main
from cluster.alerts.channels import LogChannel, MailChannel, NotSent, WebhookChannel, open_channels
from cluster.alerts.notices import AlertNotice, from_json
from cluster.settings import Settings
from tests.cluster.outbound.outside import OutsideServer, answering, outside, reaching, self_signed
from tests.simulators.smtp_server import SmtpSimulator, smtp_server

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy0wMDAwMDAwMA=="
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOTICE = AlertNotice(
    state="firing",
    rule="DeadLetters",
    severity="critical",
    labels={"kind": "index_file\nBcc: all@example.com"},
    value=3.0,
    summary="Jobs of the kind index_file\nBcc: all@example.com failed after their last attempt.",
    description="Queue them again.",
    since=NOW - timedelta(seconds=90),
    at=NOW,
)


@pytest.fixture
def receiver() -> Iterator[OutsideServer]:
    with outside() as server:
        yield server


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpSimulator]:
    certificate = self_signed(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with smtp_server(certificate) as server:
        yield server


def with_webhook(settings: Settings, url: str) -> Settings:
    changes = {"alert_webhook_url": SecretStr(url), "alert_webhook_secret": SecretStr(SECRET)}
    return settings.model_copy(update=changes)


def with_mail(port: int, **changes: object) -> Settings:
    return Settings(
        **{
            "alert_mail_to": "a@example.com, b@example.com",
            "alert_mail_from": "cluster@example.com",
            "alert_smtp_host": "localhost",
            "alert_smtp_port": port,
            **changes,
        }  # type: ignore[arg-type]
    )


def test_a_request_is_signed_so_that_openais_client_accepts_it(receiver: OutsideServer) -> None:
    receiver.answers["/hook"] = answering(204)
    channel = WebhookChannel(with_webhook(reaching(receiver.port), receiver.url("/hook")))
    channel.send(NOTICE)
    ((method, _, headers, body),) = receiver.requests
    assert method == "POST"
    OpenAI(api_key="none").webhooks.verify_signature(body, headers, secret=SECRET)
    event = json.loads(body)
    assert (event["id"], event["type"], headers["webhook-id"]) == (NOTICE.id, "alert.firing", NOTICE.id)
    assert from_json(event["data"]) == NOTICE
    assert event["data"]["runbook"] == "docs/runbook.md#deadletters"


def test_a_receiver_that_refuses_and_an_inner_address_are_failures(receiver: OutsideServer) -> None:
    receiver.answers["/hook"] = answering(500)
    settings = reaching(receiver.port)
    with pytest.raises(NotSent, match="the endpoint answered 500"):
        WebhookChannel(with_webhook(settings, receiver.url("/hook"))).send(NOTICE)
    with pytest.raises(NotSent, match="not on the public internet"):
        WebhookChannel(with_webhook(settings, f"http://127.0.0.2:{receiver.port}/")).send(NOTICE)


def test_a_mail_is_sent_encrypted_after_a_log_in(mail_server: SmtpSimulator) -> None:
    settings = with_mail(mail_server.port, alert_smtp_user="me", alert_smtp_password="a password")
    MailChannel(settings).send(NOTICE)
    (mail,) = mail_server.mails
    assert (mail.encrypted, mail.login) == (True, ("me", "a password"))
    assert mail.receivers == ("a@example.com", "b@example.com")
    message = mail.message
    assert message["Subject"].startswith("FIRING DeadLetters: Jobs of the kind index_file Bcc:")
    assert (message["Bcc"], message["Message-ID"]) == (None, f"<{NOTICE.id}@example.com>")
    text = message.get_content()
    assert "Since: 2026-06-01 11:58:30 UTC (90 s)" in text
    assert "Runbook: docs/runbook.md#deadletters" in text


def test_a_mail_that_the_server_refuses_is_a_failure(
    mail_server: SmtpSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = MailChannel(with_mail(mail_server.port))
    mail_server.refusal = "451 try again later"
    with pytest.raises(NotSent, match="try again later"):
        channel.send(NOTICE)
    mail_server.refusal = None
    monkeypatch.delenv("SSL_CERT_FILE")  # the certificate is then not trusted, and no mail may be sent
    with pytest.raises(NotSent, match="certificate"):
        channel.send(NOTICE)
    assert mail_server.mails == []


def test_the_log_has_a_line_with_the_severity() -> None:
    with capture_logs() as lines:
        LogChannel().send(NOTICE)
    (line,) = lines
    assert (line["event"], line["log_level"], line["rule"]) == ("alert_firing", "error", "DeadLetters")


def test_the_settings_name_the_channels_and_refuse_half_of_one() -> None:
    assert [channel.name for channel in open_channels(Settings())] == ["log"]
    mail = with_mail(25)
    both = with_webhook(mail, "https://hooks.example.com/x")
    assert [channel.name for channel in open_channels(both)] == ["log", "webhook", "mail"]
    assert "hooks.example.com" not in repr(both)
    for wrong, says in (
        ({"alert_webhook_url": "https://hooks.example.com/"}, "needs CLUSTER_ALERT_WEBHOOK_SECRET"),
        ({"alert_webhook_secret": "short"}, "must be whsec_ and 24 to 64 bytes"),
        ({"alert_mail_to": "ops@example.com"}, "needs CLUSTER_ALERT_SMTP_HOST"),
        ({"alert_mail_to": "ops"}, "'ops' is not a mail address"),
    ):
        with pytest.raises(ValidationError, match=says):
            Settings(**wrong)  # type: ignore[arg-type]


def test_the_command_tests_every_channel(
    receiver: OutsideServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-secret"]) == 0
    secret = capsys.readouterr().out.strip()
    allowed = reaching(receiver.port)
    for name, value in {
        "ALERT_WEBHOOK_URL": receiver.url("/hook"),
        "ALERT_WEBHOOK_SECRET": secret,
        "OUTBOUND_PORTS": str(receiver.port),
        "OUTBOUND_ALLOW_CIDRS": ",".join(allowed.outbound_allow_cidrs),
    }.items():
        monkeypatch.setenv(f"CLUSTER_{name}", value)
    receiver.answers["/hook"] = answering(200)
    assert main(["test"]) == 0
    assert capsys.readouterr().out.splitlines() == ["log: sent", "webhook: sent"]
    assert json.loads(receiver.requests[-1][3])["type"] == "alert.test"
    receiver.answers["/hook"] = answering(404)
    assert main(["test"]) == 1
    assert "webhook: not sent: the endpoint answered 404" in capsys.readouterr().out
