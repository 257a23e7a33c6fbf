"""The dashboard over a data directory: what is damaged there and how consumers are sent on behind it, what the volume holds, and
which groups hold records back."""

import os
import pathlib

import pytest
from confluent_kafka import Consumer, TopicPartition

from helpers import read_confluent
from test_dashboard import Running, browser, button, confirm, expect, open_page, playwright  # noqa: F401 (fixtures)


@pytest.fixture
def filed(tmp_path):
    if not os.environ.get("RUSTKA_BIN"):
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    running = Running("--data-dir", str(tmp_path / "data"))
    running.directory = tmp_path / "data"
    yield running
    running.stop()


def batches(log):
    """Where each batch of a segment begins, and where the last one ends."""
    at, places = 0, [0]
    while at < len(log):
        at += 12 + int.from_bytes(log[at + 8 : at + 12], "big")
        places.append(at)
    return places


def test_consumers_are_sent_on_behind_what_is_damaged(filed, open_page):
    filed.topic("orders")
    for value in (b"first", b"second", b"third"):
        filed.write("orders", (None, value))
    filed.stop()
    log = pathlib.Path(filed.directory, "orders-0", "00000000000000000000.log")
    damaged = bytearray(log.read_bytes())
    damaged[batches(damaged)[2] - 2] ^= 1
    log.write_bytes(damaged)
    # As if it had been killed: such a start reads everything.
    pathlib.Path(filed.directory, ".kafka_cleanshutdown").unlink()
    filed.start()

    page = open_page(filed, "topics/orders")
    note = page.locator(".note", has_text="Damaged and cannot be read")
    expect(note).to_contain_text("partition 0 offsets 1 to 1.")
    button(page, "Go on behind them").click()
    expect(page.locator("dialog")).to_contain_text("Nothing is deleted")
    confirm(page, "Pass over them")
    expect(note).to_contain_text("partition 0 offsets 1 to 1 (passed over)")
    expect(button(page, "Go on behind them")).to_have_count(0)

    consumer = Consumer({"bootstrap.servers": filed.bootstrap, "group.id": "readers", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition("orders", 0, 0)])
    assert [message.value() for message in read_confluent(consumer, 2)] == [b"first", b"third"]
    consumer.close()
    page.goto(f"{filed.http}/#/topics/orders/configs")
    expect(page.locator("tr", has_text="rustka.damaged.skip")).to_contain_text("0:1-1")


def test_what_the_volume_holds_and_who_holds_records_back(filed, open_page):
    filed.topic("events", **{"rustka.retention.consumers": "hold"})
    filed.write("events", *[(b"k", b"x" * 1000)] * 10)
    filed.commit("slow", "events", 3)
    page = open_page(filed, "overview")
    expect(page.locator(".card", has_text="Volume")).to_contain_text("%")
    page.goto(f"{filed.http}/#/topics")
    expect(page.locator("tbody tr", has_text="events")).to_contain_text("KiB")
    page.goto(f"{filed.http}/#/topics/events/retention")
    note = page.locator(".note", has_text="Left to read")
    expect(note).to_contain_text("Neither time nor size drops what a group has not read. Left to read: slow 7 records.")
    note.get_by_role("link", name="slow").click()
    expect(page.locator("tbody tr td.num b")).to_have_text("7")
