"""Disks that are full, read-only or fail, through the real programs: what lowers risk and reads pass on the reserve, orders are
"exchange not available", nothing is signed that was not written; and with room again everything passes.

It takes the right to mount a file system. Without it the file runs itself again in namespaces of its own.
"""

import fcntl
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from gate import Gate, program
from test_faults import SYMBOL, ccxt_client

#: Below 32 MiB free only the reserve is used, and above 64 MiB everything passes again (docs/spec/site.md).
MEGABYTES = 160
#: ext4: as if the device were gone; nothing more is written, what was not synced is lost.
EXT4_IOC_SHUTDOWN = 0x8004587D


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def setUpModule():
    here = tempfile.mkdtemp(prefix="portcullis-mount-")
    allowed = run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", here)
    run("umount", here)
    os.rmdir(here)
    if allowed.returncode == 0:
        return
    if "PORTCULLIS_IN_NAMESPACE" not in os.environ:
        again = ["unshare", "--map-root-user", "--mount", sys.executable, *sys.orig_argv[1:]]
        os.environ["PORTCULLIS_IN_NAMESPACE"] = "1"
        os.execvp(again[0], again)
    raise unittest.SkipTest(f"no file system can be mounted: {allowed.stderr.strip()}")


class Disk:
    """A small file system in memory."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-disk-"))
        self.mount()

    def mount(self):
        done = run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", self.folder)
        assert done.returncode == 0, done.stderr

    def end(self):
        run("umount", "--lazy", self.folder)
        self.folder.rmdir()

    def fill(self, leave=0):
        """Somebody else's file, as large as can be but for `leave` bytes."""
        place = self.folder / "ballast"
        free = os.statvfs(self.folder)
        free = free.f_bavail * free.f_frsize
        with place.open("wb", buffering=0) as file:
            part = bytes(1 << 16)
            try:
                while file.tell() < free - leave:
                    file.write(part)
            except OSError:
                pass
        return place


class DiskOfBlocks(Disk):
    """ext4 on a file: one that can be made to fail."""

    def mount(self):
        self.image = pathlib.Path(f"{self.folder}.image")
        if not self.image.exists():
            with self.image.open("wb") as image:
                image.truncate(MEGABYTES << 20)
            made = run("mkfs.ext4", "-q", "-F", self.image)
            assert made.returncode == 0, made.stderr
        done = run("mount", "-o", "loop", self.image, self.folder)
        if done.returncode != 0:
            raise unittest.SkipTest(f"no loop device: {done.stderr.strip()}")

    def fail(self):
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(folder)

    def again(self):
        done = run("umount", self.folder)
        assert done.returncode == 0, done.stderr
        self.mount()

    def end(self):
        super().end()
        self.image.unlink()


class GateOnDisk(Gate):
    def __init__(self, disk):
        super().__init__(venue=("--still",))
        self.disk = disk
        self.site = disk.folder / "site"


class Disks(unittest.TestCase):
    def begin(self, disk):
        self.addCleanup(disk.end)
        gate = GateOnDisk(disk)
        gate.start()
        self.addCleanup(gate.stop)
        return gate

    def eventually(self, seconds, holds):
        end = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), end, "it did not come to that in time")
            time.sleep(0.1)

    def space(self, gate):
        return gate.cli("status")["signer"]["space"]

    def test_full(self):
        import ccxt

        gate = self.begin(Disk())
        program = ccxt_client(gate, "maker")
        low = float(gate.price("BTCUSDT", 0.98))
        limit = lambda name: program.create_order(SYMBOL, "limit", "buy", 0.001, low, {"newClientOrderId": name})
        resting = [limit(f"before-{n}") for n in range(3)]
        program.create_order(SYMBOL, "market", "buy", 0.002)
        reserve = gate.site / "log/reserve"
        self.eventually(5, reserve.exists)
        for leave in (16 << 20, 0):
            # Nearly full, and then to the last byte: the reserve carries what passes.
            with self.subTest(leave=leave):
                ballast = gate.disk.fill(leave)
                self.eventually(10, lambda: self.space(gate) == "reserve")
                reached = gate.venue.signed_count()
                with self.assertRaises(ccxt.ExchangeNotAvailable) as raised:
                    limit(f"full-{leave}")
                self.assertIn("disk", str(raised.exception))
                self.assertEqual(gate.venue.signed_count(), reached)
                self.assertEqual(program.cancel_order(resting.pop()["id"], SYMBOL)["status"], "canceled")
                self.assertEqual(program.create_order(SYMBOL, "market", "sell", 0.0005)["status"], "closed")
                self.assertGreater(program.fetch_balance()["USDT"]["free"], 0)
                gate.cli("halt", "--level", "cancel-only", "--reason", "full")
                gate.cli("resume", "--reason", "full")
                ballast.unlink()
                self.eventually(10, lambda: self.space(gate) == "plenty")
                limit(f"after-{leave}")
        self.assertTrue(reserve.exists())
        gate.settle()
        self.assertTrue(gate.cli("log", "verify", str(gate.site / "log"))["verified"])

    def test_a_disk_that_fails_under_load(self):
        """Nothing reaches the venue that was not written; a start on what the disk kept goes on from there."""
        import ccxt

        gate = self.begin(DiskOfBlocks())
        program = ccxt_client(gate, "maker")
        low = float(gate.price("BTCUSDT", 0.98))
        names = []
        stopped = threading.Event()
        said = []

        def orders():
            client = gate.client("maker")
            while not stopped.is_set():
                name = f"f{len(names)}"
                names.append(name)
                answer = client.order("BTCUSDT", "BUY", "0.001", f"{low:.2f}", newClientOrderId=name)
                said.append((time.monotonic(), answer.status))
                time.sleep(0.002)

        thread = threading.Thread(target=orders)
        thread.start()
        time.sleep(1)
        gate.disk.fail()
        failed = time.monotonic()
        self.eventually(5, lambda: any(e.get("event") == "log-failed" for e in gate.lines))
        time.sleep(2)
        stopped.set()
        thread.join(20)
        self.assertFalse(thread.is_alive())
        self.assertEqual({status for at, status in said if at > failed + 1}, {503})
        with self.assertRaises(ccxt.ExchangeNotAvailable):
            program.create_order(SYMBOL, "limit", "buy", 0.001, low)
        alarm = next(e for e in gate.lines if e.get("event") == "log-failed")
        self.assertTrue(alarm["alert"], alarm)
        reached = gate.venue.signed_count()

        # The disk comes back with what had been synced: up to 5 ms of orders may be missing, and nothing else.
        gate.down()
        gate.disk.again()
        # Whoever looks before the next start finds it whole, too.
        self.assertTrue(gate.cli("log", "verify", str(gate.site / "log"))["verified"])
        gate.up()
        self.assertTrue(gate.cli("log", "verify", str(gate.site / "log"))["verified"])
        approved = {a.get("client_order_id") for e in gate.log() if e["what"] == "approved" for a in e["regulator"]["actions"]}
        lost = [r["client_order_id"] for r in gate.venue.requests(method="POST", path="/api/v3/order") if r["client_order_id"] not in approved]
        self.assertLess(len(lost), 40, "more than what had not been synced")
        self.assertEqual(lost, names[names.index(lost[0]):][:len(lost)] if lost else [], "lost from the middle")
        self.assertGreaterEqual(gate.venue.signed_count(), reached)
        program.urls["api"] = ccxt_client(gate, "maker").urls["api"]
        program.create_order(SYMBOL, "limit", "buy", 0.001, low)
        print(f"\n{len(names)} orders tried; {len(lost)} had reached the venue and were not on the disk yet")

    def test_read_only(self):
        gate = self.begin(Disk())
        gate.down()
        self.assertEqual(run("mount", "-o", "remount,ro", gate.disk.folder).returncode, 0)
        done = run(program("portcullis"), "--site", gate.site, "up", "--json")
        said = json.loads(done.stdout.splitlines()[-1] if done.stdout else done.stderr.splitlines()[-1])
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("read-only", str(said).lower())
        self.assertEqual(run("mount", "-o", "remount,rw", gate.disk.folder).returncode, 0)
        gate.up()
        self.assertEqual(gate.client("maker").call("GET", "/api/v3/account").status, 200)


if __name__ == "__main__":
    unittest.main()
