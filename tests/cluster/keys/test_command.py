"""``python -m cluster.keys`` prints a key once, and never again."""

import pytest

from cluster.keys.__main__ import main
from cluster.keys.key_text import KEY
from cluster.settings import Settings


def test_a_key_is_printed_once_listed_without_its_secret_rotated_and_revoked(
    keyed: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keyed.database_url is not None
    monkeypatch.setenv("CLUSTER_HOME", str(keyed.home))
    monkeypatch.setenv("CLUSTER_DATABASE_URL", keyed.database_url.get_secret_value())
    assert main(["create", "by command", "--scope", "read", "--model", "m", "--days", "1"]) == 0
    text = capsys.readouterr().out.strip()
    assert KEY.fullmatch(text.encode())
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    (line,) = [line for line in listed.splitlines() if "by command" in line]
    assert text not in listed
    assert "only models m" in line
    id = line.split()[0]
    assert main(["set", id, "--tokens-per-minute", "5000", "--files-limit", "7"]) == 0
    assert main(["set", id, "--files-limit", "none", "--jobs-limit", "2"]) == 0
    assert "tokens_per_minute 5,000  jobs_limit 2" in capsys.readouterr().out.splitlines()[-1]
    assert main(["rotate", id]) == 0
    new = capsys.readouterr().out.strip()
    assert KEY.fullmatch(new.encode())
    assert new != text
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("jobs_limit 2") == 2, "the new key has the limits of the old key"
    assert main(["revoke", id]) == 0
    assert main(["rotate", id]) == 1
    assert "revoked" in capsys.readouterr().err
