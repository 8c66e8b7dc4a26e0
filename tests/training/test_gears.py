"""Gears on a machine whose speed in either is a number."""

from charrnn.training.gears import PATIENCE, SAMPLE, Gears


class Machine:
    """Steps take `times[threads]` seconds; what was set is remembered."""

    def __init__(self, threads: int = 2) -> None:
        self.set_to: list[int] = []
        self.gears = Gears(threads, self.set_to.append)

    def run(self, steps: int, times: dict[int, float]) -> float:
        """Seconds that the steps took."""
        took = 0.0
        for _ in range(steps):
            seconds = times[self.gears.threads]
            took += seconds
            before = len(self.set_to)
            changed = self.gears.add_step(seconds)
            assert changed == (len(self.set_to) > before)
        return took


IDLE, BUSY = {2: 1.0, 1: 1.6}, {2: 10.0, 1: 1.6}


def test_on_an_idle_machine_nothing_changes():
    machine = Machine()
    machine.run(1000, IDLE)
    assert machine.set_to == []


def test_on_a_busy_one_there_are_fewer_threads_until_it_is_idle_again():
    machine = Machine()
    machine.run(100, IDLE)
    took = machine.run(2000, BUSY)
    assert machine.gears.threads == 1
    assert took < 1.2 * 2000 * 1.6, "tries of the other gear are short and become rare"
    machine.run(20 * PATIENCE, IDLE)
    assert machine.gears.threads == 2
    assert machine.run(500, IDLE) < 1.05 * 500


def test_where_fewer_threads_are_no_faster_all_are_kept():
    machine = Machine()
    machine.run(100, IDLE)
    slower = {2: 3.0, 1: 6.0}
    took = machine.run(3000, slower)
    assert machine.gears.threads == 2
    assert took < 1.1 * 3000 * 3.0


def test_a_hiccup_is_no_reason():
    machine = Machine()
    for _ in range(100):
        machine.run(20, IDLE)
        machine.run(SAMPLE // 2, BUSY)
    assert machine.set_to == []


def test_one_thread_is_the_only_gear():
    machine = Machine(1)
    machine.run(100, {1: 1.0})
    machine.run(100, {1: 9.0})
    assert machine.set_to == []


def test_of_eight_threads_one_goes():
    machine = Machine(8)
    machine.run(50, {8: 1.0, 7: 1.1})
    machine.run(50, {8: 9.0, 7: 1.1})
    assert machine.set_to[0] == 7
