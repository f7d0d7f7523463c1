#!/usr/bin/env python3
"""Times loading over HTTP on a link with a delay and a limit, against curl on the same link.

    tests/bench/remote.py BIN_DIR FILE [--part A-B] [--delay-ms 20] [--mbit 1000] [-o RESULTS]

As root: makes two network namespaces with a slow link between them (slow_link.py), serves FILE from
one with nginx (Debian: nginx-light) and loads it from the other, `nwc bench load URL` and curl in
turn. Nothing outside the two namespaces is reached, and both are gone afterwards.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from machine import machine
from slow_link import SERVER_ADDRESS, SlowLink

PORT = 8080
NGINX_CONFIGURATION = """\
user root;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port};
    location / {{ root {folder}/files; }}
  }}
}}
"""


class Nginx:
    def __init__(self, link, file):
        self.link, self.file = link, file

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nwc-remote-"))
        self.folder.chmod(0o755)
        files = self.folder / "files"
        files.mkdir()
        (files / "model.nwc").symlink_to(self.file.resolve())
        configuration = self.folder / "nginx.conf"
        configuration.write_text(NGINX_CONFIGURATION.format(
            folder=self.folder, address=SERVER_ADDRESS, port=PORT))
        self.process = subprocess.Popen(["ip", "netns", "exec", self.link.server, "nginx", "-c", configuration])
        time.sleep(1)
        if self.process.poll() is not None:
            sys.exit("nginx did not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Measurement:
    def __init__(self, link, nwc):
        self.link, self.nwc = link, nwc
        self.url = f"http://{SERVER_ADDRESS}:{PORT}/model.nwc"

    def load(self, *options):
        out = self.link.on_client("env", "-u", "NWC_CACHE", self.nwc, "bench", "load", self.url, "--rounds", 1,
                                  "--json", "-q", *options)
        return json.loads(out)

    def curl(self, size_bytes):
        """Seconds for the first so many bytes of the file over one connection."""
        out = self.link.on_client("curl", "-sS", "--fail", "--range", f"0-{size_bytes - 1}", "-o", "/dev/null",
                                  "-w", "%{time_total} %{size_download}", self.url)
        seconds, received = out.split()
        assert int(received) == size_bytes
        return float(seconds)

    def rounds(self, count, *options):
        """Loads and curl in turn; {what: seconds of each round} and the last load."""
        seconds = {"nwc": [], "curl": []}
        for _ in range(count):
            loaded = self.load(*options)
            seconds["nwc"].append(loaded["seconds"])
            seconds["curl"].append(self.curl(loaded["bytes_read"]))
        return {"seconds": seconds, "load": loaded}


def row(name, measured, mbit):
    load, seconds = measured["load"], measured["seconds"]
    nwc, curl = (statistics.median(seconds[who]) for who in ("nwc", "curl"))
    line = load["bytes_read"] * 8 / mbit / 1e6
    return (f"| {name} | {load['bytes_read'] / 1e6:.1f} | {load['decoded_bytes'] / 1e6:.1f} | {line:.3f} | {curl:.3f} | "
            f"{nwc:.3f} | {min(seconds['nwc']):.3f} | {nwc / line:.2f} | {nwc / curl:.2f} |")


def markdown(arguments, results):
    return "\n".join([
        f"Machine: {machine()}; nginx, client and link share it. Link: {arguments.mbit} Mbit/s, {arguments.delay_ms} ms "
        f"round trip. Input: {arguments.file.name}, {arguments.file.stat().st_size / 1e6:.1f} MB. Command:",
        f"`tests/bench/remote.py build/bin {arguments.file.name} --part {arguments.part} --delay-ms {arguments.delay_ms} "
        f"--mbit {arguments.mbit} --rounds {arguments.rounds}`.", "",
        f"Medians of {arguments.rounds}, nwc and curl in turn; curl fetches as many bytes as nwc read, over one connection, "
        "and throws them away; nwc ends with decoded tensors in memory.", "",
        "| load | read, MB | decoded, MB | bytes over the link's rate, s | curl, s | nwc, s | fastest | nwc over the rate | nwc over curl |",
        "|---|---|---|---|---|---|---|---|---|",
        row("whole", results["whole"], arguments.mbit),
        row(f"layers {arguments.part}", results["part"], arguments.mbit)]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--part", default="0-6", help="layers to load alone")
    parser.add_argument("--delay-ms", type=int, default=20)
    parser.add_argument("--mbit", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=pathlib.Path, help="writes OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()
    with SlowLink(arguments.delay_ms, arguments.mbit) as link, Nginx(link, arguments.file):
        measurement = Measurement(link, arguments.binaries.resolve() / "nwc")
        measurement.curl(arguments.file.stat().st_size)  # the server's disk is no part of this
        results = {"whole": measurement.rounds(arguments.rounds),
                   "part": measurement.rounds(arguments.rounds, "--layers", arguments.part)}
    text = markdown(arguments, results)
    print(text, end="")
    if arguments.output:
        arguments.output.with_suffix(".md").write_text(text)
        arguments.output.with_suffix(".json").write_text(json.dumps(
            {"machine": machine(), "mbit": arguments.mbit, "delay_ms": arguments.delay_ms} | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
