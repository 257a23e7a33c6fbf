#!/usr/bin/env python3
"""What the dashboard costs: its size and first paint, an idle broker with a page open, a scrape, a live tail.

    RUSTKA_BIN=target/release/rustka python3 bench/page.py                # all of it
    RUSTKA_BIN=target/release/rustka python3 bench/page.py paint idle     # some of it: paint, idle, scrape, tail, alone

Needs the packages of clients/requirements.txt, Chromium, and for the tail KBENCH (target/release/kbench). CPU is the
broker's own, all threads, told by the kernel; what takes a while on a busy machine is measured often, in turns.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("RUSTKA_CHROMIUM") or shutil.which("chromium")
IDLE_S = 20
SCRAPES = 50
PAINTS = 7
# 50 MB a second: records of 62,500 bytes, one in each request.
TAIL_RECORDS_S, TAIL_BYTES, TAIL_S, TAIL_ROUNDS = 800, 62_500, 4, int(os.environ.get("ROUNDS", "8"))


class Running:
    """A broker of its own."""

    def __init__(self, *flags):
        begun = time.monotonic()
        command = [os.environ["RUSTKA_BIN"], "--port", "0", "--http-port", "0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.start_ms = (time.monotonic() - begun) * 1000
        self.bootstrap, self.http = ready["bootstrap"], f"http://{ready['http']}"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def topics(self, names, partitions=1):
        made = self.admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        for future in made.values():
            future.result(60)

    def get(self, path, **headers):
        with urllib.request.urlopen(urllib.request.Request(self.http + path, headers=headers)) as answer:
            return answer.read()

    def cpu_s(self):
        fields = open(f"/proc/{self.process.pid}/schedstat").read().split()
        tasks = os.listdir(f"/proc/{self.process.pid}/task")
        each = [open(f"/proc/{self.process.pid}/task/{task}/schedstat").read().split()[0] for task in tasks]
        return sum(map(int, each)) / 1e9 if each else int(fields[0]) / 1e9

    def rss_mib(self):
        lines = open(f"/proc/{self.process.pid}/status").read().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def files(folder="crates/broker/ui"):
    root = os.path.join(os.path.dirname(__file__), "..", folder)
    for where, _, names in os.walk(root):
        for name in names:
            yield "/" + os.path.relpath(os.path.join(where, name), root)


def paint(browser):
    """Bytes of the page as they are sent; what Chromium spends until the first page is painted."""
    with Running() as broker:
        broker.topics([f"t{n}" for n in range(20)])
        sizes = [len(broker.get(path, **{"accept-encoding": "gzip"})) for path in files() if not path.endswith(".md")]
        print(f"page, compressed: {sum(sizes):,} bytes (goal 100,000)")
        spent_ms, painted_ms = [], []
        for _ in range(PAINTS):
            context = browser.new_context()
            page = context.new_page()
            session = context.new_cdp_session(page)
            # The time of its threads, not that of the machine, which may have other things to do.
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(broker.http)
            page.wait_for_selector("main h1")
            told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            spent_ms.append(1000 * (told["ScriptDuration"] + told["LayoutDuration"] + told["RecalcStyleDuration"]))
            painted_ms.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))
            context.close()
        print(f"script, style and layout until the first page: {statistics.median(spent_ms):.0f} ms"
              f" ({min(spent_ms):.0f}–{max(spent_ms):.0f}, goal 100); first contentful paint after {statistics.median(painted_ms):.0f} ms")


def idle(browser):
    """CPU of a broker that nobody uses, with a page open."""
    with Running() as broker:
        broker.topics([f"t{n}" for n in range(100)])
        page = browser.new_page()
        for view in ["none", "overview", "topics", "topics/t1"]:
            measure_idle(broker, page, view, "100 topics", 1)
        broker.topics(["wide"], 10_000)
        for view in ["none", "overview", "topics", "topics/wide/partitions"]:
            measure_idle(broker, page, view, "10,100 partitions", 3)
        page.close()


def measure_idle(broker, page, view, what, goal):
    page.goto("about:blank" if view == "none" else f"{broker.http}/#/{view}")
    if view != "none":
        page.wait_for_selector("main h1")
    page.wait_for_timeout(3000)
    before, begun = broker.cpu_s(), time.monotonic()
    page.wait_for_timeout(IDLE_S * 1000)
    share = (broker.cpu_s() - before) / (time.monotonic() - begun)
    print(f"idle, {what}, page {view}: {share * 100:.2f} % of a core (goal {goal})")


def scrape(_):
    """CPU of one scrape with 1,000 topics and 100 groups."""
    with Running() as broker:
        for first in range(0, 1000, 100):
            broker.topics([f"t{n}" for n in range(first, first + 100)])
        for group in range(100):
            consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"g{group}"})
            places = [TopicPartition(f"t{group * 10 + n}", 0, 0) for n in range(10)]
            consumer.commit(offsets=places, asynchronous=False)
            consumer.close()
        size = len(broker.get("/metrics"))
        before = broker.cpu_s()
        for _ in range(SCRAPES):
            broker.get("/metrics")
        spent_ms = (broker.cpu_s() - before) * 1000 / SCRAPES
        print(f"scrape of 1,000 topics and 100 groups, {size:,} bytes: {spent_ms:.2f} ms of CPU (goal 20)")


def tail(browser):
    """The 99th percentile of a producer of 50 MB/s, with and without somebody who follows the topic live: a program that
    reads the events, with and without a filter that looks at everything, and a page, whose browser takes processors, too."""
    with Running("--memory-limit", "1G") as broker:
        broker.topics(["t"])
        page = browser.new_page()
        events = "/api/v1/topics/t/tail"
        ways = {"nobody": nobody, "events": follow(events), "events, filtered": follow(events + "?filter=nothing-like-this"), "a page": show(page)}
        found = {way: [] for way in ways}
        for _ in range(TAIL_ROUNDS):
            for way, begin in ways.items():
                end = begin(broker)
                found[way].append(load(broker))
                end()
        for way, rounds in found.items():
            p99, cpu = [[one[name] for one in rounds] for name in ("p99", "cpu")]
            ratio = statistics.median(one["p99"] / base["p99"] for one, base in zip(rounds, found["nobody"]))
            print(f"50 MB/s, {way}: p99 {statistics.median(p99):.0f} µs ({min(p99):.0f}–{max(p99):.0f}, {TAIL_ROUNDS} rounds),"
                  f" {ratio:.2f} of nobody's round by round (goal 1.2); broker {statistics.median(cpu) * 100:.1f} % of a core")
        page.close()


def nobody(_):
    return lambda: None


def follow(path):
    def begin(broker):
        reader = subprocess.Popen(["curl", "-sN", broker.http + path], stdout=subprocess.PIPE)
        reader.stdout.readline()
        drain = subprocess.Popen(["cat"], stdin=reader.stdout, stdout=subprocess.DEVNULL)
        return lambda: (reader.terminate(), reader.wait(), drain.wait())

    return begin


def show(page):
    def begin(broker):
        page.goto(f"{broker.http}/#/topics/t?start=live")
        page.wait_for_selector("text=Waiting for records")
        return lambda: page.goto("about:blank")

    return begin


def load(broker):
    command = [os.environ.get("KBENCH", "target/release/kbench"), "latency", "--addr", broker.bootstrap, "--topic", "t"]
    command += ["--rate", str(TAIL_RECORDS_S), "--size", str(TAIL_BYTES), "--secs", str(TAIL_S), "--conns", "4"]
    before, begun = broker.cpu_s(), time.monotonic()
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"p99": told["ack_p99_us"], "cpu": (broker.cpu_s() - before) / (time.monotonic() - begun)}


def alone(_):
    """Start and memory of a broker at which nobody looks."""
    starts, sizes = [], []
    for _ in range(15):
        with Running() as broker:
            time.sleep(0.5)
            starts.append(broker.start_ms)
            sizes.append(broker.rss_mib())
    print(f"start until it says it is ready: {statistics.median(starts):.1f} ms ({min(starts):.1f}–{max(starts):.1f}, goal 20)")
    print(f"memory of an idle broker: {statistics.median(sizes):.1f} MiB ({min(sizes):.1f}–{max(sizes):.1f}, goal 6)")


def main():
    parts = {"paint": paint, "idle": idle, "scrape": scrape, "tail": tail, "alone": alone}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in sys.argv[1:] or parts:
            parts[name](browser)
        browser.close()


main()
