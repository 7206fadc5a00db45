# SPDX-License-Identifier: Apache-2.0
"""What several parties hold at once: threads, views, hooks, forked children."""

import os
import threading

import numpy as np
import pytest

import tengen as tg


def test_threads_record_from_one_leaf_and_sum_into_it():
    w = tg.ones((300, 300), requires_grad=True)
    failures = []

    def work():
        try:
            for _ in range(20):
                (w * 2.0).sum().backward()
        except Exception as error:  # pragma: no cover - the assertion below shows it
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    np.testing.assert_array_equal(w.grad.numpy(), np.full((300, 300), 6 * 20 * 2, "float32"))


def test_assignment_into_a_strided_tensor_has_gradients():
    w = tg.ones((3,), requires_grad=True)
    x = tg.zeros((4, 30))[:, ::10]
    y = x * 1.0
    y[3] = w * 2
    (y * tg.arange(12).reshape((4, 3))).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [18, 20, 22])
    strided = tg.zeros((400, 3000))[:, ::1000]
    with pytest.raises(RuntimeError, match="view"):
        strided[3] = w


def test_recorded_writes_through_a_view_are_refused():
    w = tg.ones((3,), requires_grad=True)
    b = tg.zeros((4, 3))
    row = b[1:3]
    with pytest.raises(RuntimeError, match="base"):
        row[0] = w
    with pytest.raises(RuntimeError, match="base"):
        b[0].add_(w)
    old = b[0]
    b[1] = w
    with pytest.raises(RuntimeError, match="view"):
        old * w


def test_gradients_of_two_leaves_are_not_one_tensor():
    a, b = tg.ones((2,), requires_grad=True), tg.ones((2,), requires_grad=True)
    (a + b).sum().backward(create_graph=True)
    with tg.no_grad():
        a.grad.zero_()
    assert b.grad.tolist() == [1, 1]


def test_a_hooks_result_is_checked():
    a = tg.ones((3,), requires_grad=True)
    a.register_hook(lambda g: tg.ones((7,)))
    with pytest.raises(ValueError, match=r"\[hook\].*\(3,\).*\(7,\)"):
        (a * 2).sum().backward()


def test_writing_into_an_expanded_tensor_is_refused():
    y = tg.zeros((1, 4)).expand((3, 4))
    with pytest.raises(RuntimeError, match="expanded"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="expanded"):
        y[:, 1:] = 1


def test_a_target_that_is_no_class_raises():
    with pytest.raises(IndexError):
        tg.nn.functional.cross_entropy(tg.tensor([[0.0, 1.0, 9.0]]), tg.tensor([-1]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="never: no fork here")
def test_host_tensors_work_in_a_forked_child():
    x = tg.ones((64, 64))
    expected = (x @ x).numpy()
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal((x @ x).numpy(), expected) and (x + x).sum().item() == 8192 else 1)
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
