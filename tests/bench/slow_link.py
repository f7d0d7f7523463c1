"""A network link with a delay and a rate, between two network namespaces, for remote.py.

Two TUN devices, one in each namespace; threads of this process carry the packets, so no queueing
discipline is needed (many kernels come without netem). TCP sees what a long cable would show it:
handshakes, slow start and windows take round trips. Needs root.
"""
import collections
import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import threading
import time

SERVER_ADDRESS, CLIENT_ADDRESS = "10.77.31.1", "10.77.31.2"
PACKET_BYTES = 9000  # jumbo frames: fewer packets to carry
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
WAIT_SECONDS = 0.2  # how soon threads notice the end


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def open_tun(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Direction:
    """Carries packets one way: each leaves when the line is free, and arrives `delay` after that."""

    def __init__(self, source, target, delay, bytes_per_second):
        self.source, self.target, self.delay, self.rate = source, target, delay, bytes_per_second
        self.packets, self.arrived = collections.deque(), threading.Condition()
        self.stop = False
        self.threads = [threading.Thread(target=body, daemon=True) for body in (self.read, self.write)]
        for thread in self.threads:
            thread.start()

    def read(self):
        free = 0.0
        while not self.stop:
            if not select.select([self.source], [], [], WAIT_SECONDS)[0]:
                continue
            packet = os.read(self.source, PACKET_BYTES + 100)
            free = max(free, time.monotonic()) + len(packet) / self.rate
            with self.arrived:
                self.packets.append((free + self.delay, packet))
                self.arrived.notify()

    def write(self):
        while not self.stop:
            with self.arrived:
                if not self.packets and not self.arrived.wait(WAIT_SECONDS):
                    continue
                due, packet = self.packets.popleft()
            pause = due - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            os.write(self.target, packet)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


class SlowLink:
    """As long as its `with` lasts. Half of the round trip's delay each way; the rate is of each way."""

    def __init__(self, round_trip_ms, mbit):
        self.delay, self.rate = round_trip_ms / 2000, mbit * 1e6 / 8
        self.server, self.client = f"nwc-server-{os.getpid()}", f"nwc-client-{os.getpid()}"

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            ends = [self.add_end(stack, *end) for end in
                    ((self.server, "nwc-tun0", SERVER_ADDRESS), (self.client, "nwc-tun1", CLIENT_ADDRESS))]
            for source, target in (ends, ends[::-1]):
                stack.callback(Direction(source, target, self.delay, self.rate).end)
            self.stack = stack.pop_all()
        return self

    def add_end(self, stack, namespace, device, address):
        run("ip", "netns", "add", namespace)
        stack.callback(run, "ip", "netns", "delete", namespace)
        descriptor = open_tun(device)
        stack.callback(os.close, descriptor)
        run("ip", "link", "set", device, "netns", namespace)
        run("ip", "-n", namespace, "address", "add", f"{address}/30", "dev", device)
        run("ip", "-n", namespace, "link", "set", device, "mtu", PACKET_BYTES, "txqueuelen", 20000, "up")
        return descriptor

    def __exit__(self, *_):
        self.stack.close()

    def on_client(self, *command):
        try:
            return run("ip", "netns", "exec", self.client, *command)
        except RuntimeError as error:
            sys.exit(str(error))
