"""A setting's old name works for a release, and says what the new one is."""

import warnings

import pytest

from cluster.errors import Misconfigured
from cluster.local.environment import driver_environment
from cluster.settings import Settings
from cluster.settings.old_names import RENAMED

OLD_NAMES = pytest.mark.parametrize("old", RENAMED)


@OLD_NAMES
def test_an_old_variable_sets_the_new_setting_and_warns(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = RENAMED[old]
    monkeypatch.setenv(f"CLUSTER_{old.upper()}", "777")

    with pytest.warns(FutureWarning, match=f"CLUSTER_{old.upper()} is now called CLUSTER_{new.upper()};"):
        settings = Settings()

    assert getattr(settings, new) == 777
    assert new in settings.model_fields_set


@OLD_NAMES
def test_an_old_keyword_sets_the_new_setting_and_warns(old: str) -> None:
    with pytest.warns(FutureWarning, match=f"{old} is now called {RENAMED[old]};"):
        settings = Settings(**{old: 777})  # type: ignore[arg-type]

    assert getattr(settings, RENAMED[old]) == 777


@OLD_NAMES
def test_two_values_for_one_setting_are_refused(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = RENAMED[old]
    with pytest.raises(Misconfigured, match=f"{old} and {new} .* different"):
        Settings(**{old: 777, new: 778})  # type: ignore[arg-type]

    monkeypatch.setenv(f"CLUSTER_{old.upper()}", "777")
    monkeypatch.setenv(f"CLUSTER_{new.upper()}", "778")
    with pytest.raises(Misconfigured, match=f"CLUSTER_{old.upper()} and CLUSTER_{new.upper()} .* different"):
        Settings()


def test_a_keyword_still_goes_before_an_old_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_THREADS", "7")

    with pytest.warns(FutureWarning, match="CLUSTER_THREADS"):
        assert Settings(engine_threads=2).engine_threads == 2


def test_a_process_started_for_the_cluster_gets_only_the_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_THREADS", "07")
    with pytest.warns(FutureWarning):
        settings = Settings()

    environment = driver_environment(settings)

    assert "CLUSTER_THREADS" not in environment
    assert environment["CLUSTER_ENGINE_THREADS"] == "7"


def test_a_misspelt_variable_is_named_with_the_setting_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_API_PROT", "9000")

    with pytest.warns(UserWarning, match=r"CLUSTER_API_PROT .* did you mean CLUSTER_API_PORT\?"):
        assert Settings().api_port == 8000


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CLUSTER_PORT", "tcp://10.0.0.1:80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Settings()
