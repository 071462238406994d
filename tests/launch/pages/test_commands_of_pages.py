"""The commands of these pages work, section by section, as a reader types them.

To add a page, add its path to ``PAGES``. ``page_commands`` says what counts as a command, ``conftest`` which
variables a page may use, and ``prelude.bash`` what happens to commands that no test can execute.
"""

import pytest

from tests.launch.pages.conftest import PageShell
from tests.launch.pages.page_commands import Section, sections

pytestmark = pytest.mark.launch

PAGES = ["docs/runbook.md", "docs/from-celery.md", "docs/sizing.md", "docs/alerts.md"]


@pytest.mark.parametrize(
    "section", [section for page in PAGES for section in sections(page)], ids=lambda section: section.id
)
def test_the_commands_of_a_section_work(page_shell: PageShell, section: Section) -> None:
    page_shell.run(section)
