"""Which processes are there, and that none outlives the one that it works for."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nasproxy.system import processes

# the module alone, since a process that imports torch takes seconds to start
WORKER = f"""
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("processes", {processes.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if len(sys.argv) > 1:  # a start so slow that the driver is gone by then
    time.sleep(2)
module.end_with_parent(int(os.environ["DRIVER"]))
time.sleep(60)
"""
DRIVER = f"""
import os, subprocess, sys, time
os.environ["DRIVER"] = str(os.getpid())
worker = subprocess.Popen([sys.executable, "-c", {WORKER!r}, *sys.argv[1:]])
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_ends_with_a_driver_that_is_killed(late: bool) -> None:
    arguments = [sys.executable, "-c", DRIVER, *(["late"] if late else [])]
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    time.sleep(0 if late else 2 * processes._LOOK)
    assert processes._started(worker) is not None  # it lives as long as its driver does
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    start = time.monotonic()
    while processes._started(worker) is not None and time.monotonic() < start + 20:
        time.sleep(0.05)
    assert processes._started(worker) is None
    driver.stdout.close()
