"""The processes of studies: results, progress, errors, and how they are cancelled."""

import time

import pytest
from helpers_pool import at_once, die, double, environment, fail

from charrnn.errors import CharRNNError, CorpusError
from charrnn.study.pool import THREADS, results


@pytest.mark.parametrize("processes", [0, 2])
def test_each_task_has_its_result_and_progress_rises_to_all(processes):
    heard: list[tuple[str, float]] = []
    tasks, costs = [1, 2, 3], [1.0, 1.0, 2.0]
    found = dict(
        results(
            double, tasks, costs, processes=processes, threads=1, noun="task",
            notify=lambda what, share: heard.append((what, share)),
        )
    )  # fmt: skip
    assert found == {1: 2, 2: 4, 3: 6}
    assert heard[0] == ("0 of 3 tasks", 0.0)
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert all("left" in what for what, share in heard if share)


@pytest.mark.parametrize("threads", [1, None])
def test_the_threads_of_a_process(threads, monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    ((_, found),) = results(
        environment, [0], [1.0], processes=1, threads=threads, noun="task", notify=lambda *_: None
    )
    assert set(found.values()) == ({"1"} if threads else {"1", None})
    assert found["OPENBLAS_NUM_THREADS"] == "1"


def test_an_error_of_a_task_is_raised_as_it_was():
    with pytest.raises(CorpusError, match=r"names\.txt: is gone"):
        list(results(fail, [0], [1.0], processes=1, threads=1, noun="task", notify=lambda *_: None))


def test_a_process_that_is_lost_is_an_error():
    with pytest.raises(CharRNNError, match="ended without a result"):
        list(results(die, [0], [1.0], processes=1, threads=1, noun="task", notify=lambda *_: None))


def test_closing_the_iterator_cancels_what_runs_and_lets_it_save(tmp_path):
    slow = tmp_path / "slow"
    ended = results(at_once, [slow, 1], [1.0, 1.0], processes=2, threads=1, noun="task", notify=lambda *_: None)
    assert next(ended) == (1, 1)
    while not slow.exists():
        time.sleep(0.01)
    ended.close()  # type: ignore[attr-defined]
    assert slow.read_text() == "saved"
