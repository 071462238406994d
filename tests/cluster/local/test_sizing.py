"""The sizing command computes from the figures that ``docs/sizing.md`` shows, and refuses wrong figures."""

import re
from dataclasses import asdict, replace

import pytest

from cluster.local.sizing.__main__ import main
from cluster.local.sizing.figures import Figures
from cluster.local.sizing.size import ClusterLoad, size_of
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "sizing.md").read_text()


def test_the_page_shows_the_figures_of_the_command() -> None:
    shown = {
        name: float(number.replace(",", ""))
        for name, number in re.findall(r"^\| `(\w+)` \| ([\d,.]+) \|", PAGE, re.MULTILINE)
    }
    assert shown == asdict(Figures())


def test_the_command_prints_workers_and_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    load = ["--documents-an-hour", "0", "--embeddings-a-second", "100", "--figure", "ms_per_embedding=60"]
    assert main([*load, "--cores-of-a-worker", "4", "--price-of-a-worker", "50"]) == 0
    printed = re.findall(r"│ (.+?) +│ +(\S+) │", capsys.readouterr().out)
    assert ("workers with 4 cores", "3") in printed, "six cores, and room for peaks"
    assert ("dollars a month for the workers", "150") in printed


def test_a_load_takes_cores_in_proportion_and_room_for_peaks() -> None:
    figures = Figures(
        chunks_per_page=4, tokens_per_page=600, stage_ms_per_page=30, tokens_per_core_s=3_000, busy_share=0.5
    )
    load = ClusterLoad(documents_per_hour=3_600, pages_per_document=10, documents=1_000)
    size = size_of(load, figures)
    assert (size.chunks_per_s, size.chunks) == (40, 40_000)
    assert size.stage_cores == pytest.approx(10 * 0.030 / 0.5)
    assert size.engine_cores == pytest.approx(10 * 600 / 3_000 / 0.5)
    assert (size.workers(1), size.workers(4), size.workers(8)) == (5, 2, 1)
    twice = size_of(replace(load, documents_per_hour=7_200), figures)
    assert twice.cores == pytest.approx(2 * size.cores)
    on_gpus = size_of(replace(load, on_gpus=True), replace(figures, tokens_per_gpu_s=10_000))
    assert (on_gpus.gpus, on_gpus.engine_cores, on_gpus.stage_cores) == (2, 0, size.stage_cores)


@pytest.mark.parametrize("figure", ["speed=2", "stage_ms_per_page=fast", "busy_share=0", "busy_share=nan"])
def test_a_wrong_figure_is_refused_with_its_name(figure: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--figure", figure])
    said = capsys.readouterr().err
    assert figure.split("=")[0] in said
    assert "busy_share" in said or "above 0" in said
