"""Several threads of Python at once: gradients and draws are not lost."""

import sys
import threading

from small import leaf

import minigrad as mg


def together(work, count=4):
    """Run `work` in several threads that take turns as often as Python lets them."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)


def test_backward_passes_of_several_threads_add_up_exactly_on_a_leaf():
    x = leaf([1.0, 2.0])

    def work():
        for _ in range(400):
            (x * 3.0).sum().backward()

    together(work)
    assert x.grad.tolist() == [4 * 400 * 3.0] * 2


def test_threads_draw_no_number_twice():
    numbers = []

    def work():
        numbers.extend([mg.random.draw("a stream")[2] for _ in range(20_000)])

    together(work, count=8)
    assert sorted(numbers) == list(range(160_000))
