"""The clock of `clock.c` for every program of a test: at the machine's pace while the bot works, many times as fast while it sleeps."""

import mmap
import os
import pathlib
import shutil
import struct
import subprocess

import gate

HERE = pathlib.Path(__file__).parent


class FastClock:
    """Programs started while it is there have its time. `bin` has the gate's programs, each as it is, started with the clock:
    rooms get no environment from `up`, so a script before each of them loads it."""

    def __init__(self, folder, pace):
        self.library, self.page, self.bin, self.pace = folder / "clock.so", folder / "clock", folder / "bin", pace
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, HERE / "clock.c", "-ldl"], check=True)
        self.page.write_bytes(bytes(64))
        self.bin.mkdir()
        # This one finds the others beside itself.
        shutil.copy2(gate.BIN / "portcullis", self.bin / "portcullis")
        for name in ("ingress", "signer", "egress", "unseal", "sim"):
            script = self.bin / f"portcullis-{name}"
            script.write_text(f'#!/bin/sh\nLD_PRELOAD={self.library} PORTCULLIS_CLOCK={self.page} exec {gate.BIN}/portcullis-{name} "$@"\n')
            script.chmod(0o755)

    def __enter__(self):
        self.before, gate.BIN = gate.BIN, self.bin
        os.environ |= {"LD_PRELOAD": str(self.library), "PORTCULLIS_CLOCK": str(self.page)}
        return self

    def __exit__(self, *_):
        gate.BIN = self.before
        del os.environ["LD_PRELOAD"], os.environ["PORTCULLIS_CLOCK"]

    def sleeper(self):
        """The environment of the program whose sleep is short."""
        return {"PORTCULLIS_CLOCK_SLEEPER": str(self.pace)}

    def ahead(self):
        """Seconds that were gained."""
        with self.page.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as page:
            return struct.unpack_from("qqqq", page)[2] / 1e9
