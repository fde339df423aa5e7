"""no_grad, enable_grad and detach: where nothing is recorded, and for how long."""

import asyncio
import threading

import pytest

import minigrad as mg


def test_no_grad_nests_and_ends_after_an_exception():
    with mg.no_grad():
        with mg.no_grad():
            pass
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()
    again = mg.no_grad()
    with again, again:  # one object, twice
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


def test_no_grad_holds_in_its_own_thread_only():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(5)
        seen.append(mg.is_grad_enabled())
        with mg.no_grad():
            seen.append(mg.is_grad_enabled())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with mg.no_grad():
        inside.set()
        done.wait(5)
        assert not mg.is_grad_enabled()
    thread.join(5)
    assert seen == [True, False]


def test_no_grad_holds_in_its_own_task_only():
    seen = []

    async def quiet():
        with mg.no_grad():
            await asyncio.sleep(0.01)
            seen.append(("quiet", mg.is_grad_enabled()))

    async def loud():
        await asyncio.sleep(0.005)
        seen.append(("loud", mg.is_grad_enabled()))

    async def both():
        await asyncio.gather(quiet(), loud())

    asyncio.run(both())
    assert dict(seen) == {"quiet": False, "loud": True}


def test_no_grad_decorates_functions():
    @mg.no_grad()
    def quiet(depth):
        """Documented."""
        return mg.is_grad_enabled() or (depth > 0 and quiet(depth - 1))

    assert quiet(3) is False
    assert mg.is_grad_enabled()
    assert quiet.__doc__ == "Documented."


def test_no_grad_decorates_no_function_whose_call_does_not_run_it():
    def generator():
        yield mg.is_grad_enabled()

    async def coroutine():
        return mg.is_grad_enabled()

    async def both():
        yield mg.is_grad_enabled()

    for f in (generator, coroutine, both):
        for mode in (mg.no_grad, mg.enable_grad):
            with pytest.raises(TypeError, match=rf"{f.__name__}: .*; write `with .* inside it"):
                mode()(f)


def test_no_grad_records_nothing_and_enable_grad_does_again():
    x = mg.tensor(1.0, requires_grad=True)
    with mg.no_grad():
        assert not mg.is_grad_enabled()
        assert not (x * 2.0).requires_grad
        with mg.enable_grad():
            assert (x * 2.0).requires_grad
        assert not mg.is_grad_enabled()
    assert (x * 2.0).requires_grad


def test_detach_shares_memory_and_cuts_the_graph():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x.detach()
    assert y.data is x.data
    (x * y).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]
