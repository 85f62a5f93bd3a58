"""The signer's wall clock steps, forward and back, while the others' does not. The real signer, started with a library that adds
a number to what the kernel says; the number lies in a file that the test writes.
"""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import gate as gates
from gate import Gate
from test_faults import SYMBOL, ccxt_client

STEPPED = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *step_ns;

__attribute__((constructor)) static void begin(void) {
    int fd = open(STEP_FILE, O_RDONLY);
    void *at = fd < 0 ? MAP_FAILED : mmap(0, sizeof *step_ns, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) _exit(99);
    close(fd);
    step_ns = at;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) {
        long long ns = now->tv_sec * 1000000000LL + now->tv_nsec + *step_ns;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return failed;
}
"""


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-clock-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.step_file = folder / "step"
        cls.step_file.write_bytes(bytes(8))
        (folder / "stepped.c").write_text(STEPPED)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", f'-DSTEP_FILE="{cls.step_file}"', "-o", folder / "stepped.so", folder / "stepped.c"], check=True
        )
        real = gates.BIN
        bin = folder / "bin"
        bin.mkdir()
        for name in ("portcullis", "portcullis-ingress", "portcullis-egress", "portcullis-unseal", "portcullis-sim"):
            # `portcullis` looks for the rooms beside itself, wherever a symbolic link to it lies.
            try:
                os.link(real / name, bin / name)
            except OSError:
                shutil.copy(real / name, bin / name)
        signer = bin / "portcullis-signer"
        signer.write_text(f'#!/bin/sh\nLD_PRELOAD={folder}/stepped.so exec {real}/portcullis-signer "$@"\n')
        signer.chmod(0o755)
        gates.BIN = bin
        cls.addClassCleanup(setattr, gates, "BIN", real)
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()
        cls.addClassCleanup(cls.gate.stop)
        cls.ccxt = ccxt_client(cls.gate, "maker")
        cls.low = float(cls.gate.price("BTCUSDT", 0.98))

    def step(self, seconds):
        if seconds:
            self.addCleanup(self.step, 0)
        # In place: the signer has this file in its memory.
        with self.step_file.open("r+b") as file:
            file.write(struct.pack("q", round(seconds * 1e9)))

    def limit(self):
        return self.ccxt.create_order(SYMBOL, "limit", "buy", 0.001, self.low)

    def passes_within(self, seconds):
        import ccxt

        end = time.monotonic() + seconds
        while True:
            try:
                return self.limit()
            except ccxt.BaseError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def times(self):
        return [entry["at"] for entry in self.gate.log()]

    def test_small_steps_are_nobodys_matter(self):
        for seconds in (0.3, -0.3, 0):
            self.step(seconds)
            for _ in range(20):
                self.limit()
                time.sleep(0.02)
        times = self.times()
        self.assertEqual(times, sorted(times))

    def test_a_step_back(self):
        """Time stands still for as long; what is stamped is not what the venue would take, so it is refused here."""
        import ccxt

        self.limit()
        self.step(-3)
        deadline = time.monotonic() + 6
        refused = 0
        while time.monotonic() < deadline:
            try:
                self.limit()
            except (ccxt.InvalidNonce, ccxt.ExchangeNotAvailable):
                refused += 1
            time.sleep(0.1)
        self.assertGreater(refused, 10)
        # Right again: three seconds forward are no jump.
        self.step(0)
        self.passes_within(3)
        times = self.times()
        self.assertEqual(times, sorted(times), "an entry is older than the one before it")

    def test_a_jump_forward_waits_for_an_operator(self):
        import ccxt

        resting = self.limit()
        reached = self.gate.venue.signed_count()
        self.step(3600)
        with self.assertRaises(ccxt.ExchangeNotAvailable) as raised:
            self.limit()
        self.assertIn("clock jumped", str(raised.exception))
        with self.assertRaises(ccxt.ExchangeNotAvailable):
            self.ccxt.cancel_order(resting["id"], SYMBOL)
        alarm = next(e for e in self.gate.lines if e.get("event") == "clock-jumped")
        self.assertTrue(alarm["alert"] and 3_599_000_000 < alarm["microseconds"] < 3_601_000_000, alarm)
        self.assertTrue(any("clock jumped" in warning for warning in self.gate.cli("status")["signer"]["warnings"]))
        # A restart forgets nothing.
        self.gate.cli("restart", "signer")
        with self.assertRaises(ccxt.ExchangeNotAvailable) as raised:
            self.limit()
        # The clock is set right, and an operator says so.
        self.step(0)
        with self.assertRaises(ccxt.ExchangeNotAvailable):
            self.limit()
        self.assertEqual(self.gate.venue.signed_count(), reached, "something was signed in between")
        self.gate.cli("confirm-time", "--reason", "rehearsal")
        self.passes_within(5)
        self.assertEqual(self.ccxt.cancel_order(resting["id"], SYMBOL)["status"], "canceled")
        times = self.times()
        self.assertEqual(times, sorted(times))
        self.assertLess(times[-1] / 1e6, time.time() + 5, "the jump's hour is in the log")


if __name__ == "__main__":
    unittest.main()
