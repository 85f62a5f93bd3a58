"""The same program in each form of CCXT: plain Python, Python on an event loop, JavaScript. All have CCXT's own method names."""

import asyncio
import json
import os
import pathlib
import re
import subprocess

import ccxt
import ccxt.async_support

HERE = pathlib.Path(__file__).parent


class Python:
    def __init__(self, name, settings):
        self.made = getattr(ccxt, name)(settings)

    def __getattr__(self, method):
        return getattr(self.made, method)

    def close(self):
        pass


class Async:
    def __init__(self, name, settings):
        self.loop = asyncio.new_event_loop()
        self.made = getattr(ccxt.async_support, name)(settings)

    def __getattr__(self, method):
        called = getattr(self.made, method)

        def call(*arguments, **named):
            answer = called(*arguments, **named)
            return self.loop.run_until_complete(answer) if asyncio.iscoroutine(answer) else answer

        return call

    def close(self):
        self.loop.run_until_complete(self.made.close())
        self.loop.close()


class JavaScript:
    """A program of its own, told what to call by lines of JSON."""

    def __init__(self, name, settings):
        self.process = subprocess.Popen(
            ["node", HERE / "venue_program.mjs", os.environ["PORTCULLIS_CCXT_JS"], name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.say(settings)

    def say(self, line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def call(self, method, *arguments):
        self.say({"call": method, "arguments": arguments})
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise getattr(ccxt, answer["error"])(answer["message"])
        return answer.get("answer")

    def withdraw(self, code, amount, address, params):
        # Before the parameters it has the address's tag, which the version of Python has no more.
        return self.call("withdraw", code, amount, address, None, params)

    def __getattr__(self, method):
        camel = re.sub(r"_(\w)", lambda letter: letter[1].upper(), method)
        return lambda *arguments: self.call(camel, *arguments)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


CLIENTS = (Python, Async, JavaScript)
