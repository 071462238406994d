"""Recognise the pages of one document that ``Recognition`` has chosen, one page in each call of a parser.

    work = Recognition(ocr, pages, unread, media_type=kind, settings=settings)
    await recognise_pages(work, attempt, parsers, data, name="scan.pdf")
    work.pages, work.unread, work.with_facts(facts)

Between two pages, other documents can use the parser. The time limit of the stage begins again at each page.
"""

from data_jobs.stages.parsing.recognition import Recognition
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.parser_pool import Parsers


async def recognise_pages(
    work: Recognition, attempt: JobAttempt, parsers: Parsers, data: bytes, *, name: str
) -> None:
    """Recognise the waiting pages, and give the results to ``work``.

    Args:
        work: the pages of the document.
        attempt: the attempt at the job. Its progress counts the pages that need no recognition as done.
        parsers: the parsing processes of the worker.
        data: the file.
        name: the file name.
    """
    rank, total = attempt.job.priority_class.rank, len(work.pages)
    for done, number in enumerate(work.waiting, start=total - len(work.waiting) + 1):
        call = work.call(number)
        parsed = await parsers.parse(data, name=name, rank=rank, on_begin=attempt.goes_on, **call)
        work.take(number, parsed)
        attempt.goes_on()
        await attempt.progress(done, total, unit="pages")
