"""The one loop over blocks: everything is kept once, and what has ended is not lost."""

from __future__ import annotations

import threading

import pytest

from ufm.batch.executor import Programs, run_blocks


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("number", [0, 1, 7])
def test_every_block_is_kept_by_its_number(workers, number):
    kept, by = {}, set()

    def keep(i, done):
        assert i not in kept
        kept[i] = done
        by.add(threading.get_ident())

    run_blocks(lambda block: -block, range(10, 10 + number), workers, keep)
    assert kept == {i: -10 - i for i in range(number)}
    assert by <= {threading.get_ident()}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_another_thread_is_at_is_kept_when_one_fails(error):
    both, failed, kept, begun = threading.Barrier(2), threading.Event(), {}, []

    def run(block):
        begun.append(block)
        if block > 1:
            # (long enough for the thread that waits for all of them to hear of the error)
            threading.Event().wait(0.05)
            return block
        both.wait(timeout=60)
        if block == 0:
            failed.set()
            raise error
        failed.wait(timeout=60)
        return block

    with pytest.raises(error):
        run_blocks(run, range(200), 2, kept.__setitem__)
    assert kept[1] == 1
    assert 0 not in kept
    # the others were not begun, but for the few that a free thread took up before they were called
    # off
    assert len(begun) < 100


def test_a_block_that_has_ended_is_kept_when_keeping_is_interrupted():
    ended, kept = threading.Barrier(2), []

    def run(block):
        ended.wait(timeout=60)
        return block

    def keep(i, done):
        kept.append(done)
        if len(kept) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks(run, (0, 1), 2, keep)
    assert set(kept) == {0, 1}


def test_a_program_is_compiled_by_one_thread_and_again_after_an_error():
    programs, at_once, most = Programs(), [], []

    def fail():
        with programs.alone_at_first("a") as first:
            assert first
            raise OSError("no compiler")

    with pytest.raises(OSError, match="no compiler"):
        fail()

    def run(block):
        with programs.alone_at_first("a") as first:
            at_once.append(block)
            if first:
                most.append(len(at_once))
            return first

    kept = {}
    run_blocks(run, range(6), 3, kept.__setitem__)
    assert sorted(kept.values()) == [False] * 5 + [True]
    # nobody was there before the first
    assert most == [1]
    with programs.alone_at_first("b") as first:
        assert first
