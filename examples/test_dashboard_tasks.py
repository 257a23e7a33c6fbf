"""Twenty tasks on the dashboard, each begun at the overview; docs/dashboard.md says how many clicks each takes."""

import pathlib
import re
import time

import pytest
from confluent_kafka import Consumer, Producer

from helpers import until
from test_dashboard import Running, browser, button, expect, open_page, playwright  # noqa: F401 (fixtures)

DOCUMENTATION = pathlib.Path(__file__).parent.parent / "docs" / "dashboard.md"
TASKS = {}
# {"id": 7, "n": 1}
PACKED = bytes([0x82, 0xA2, 105, 100, 7, 0xA1, 110, 1])


def task(name):
    def keep(steps):
        TASKS[name] = steps
        return steps

    return keep


class Hand:
    """Does what a visitor's hand does, and counts it."""

    def __init__(self, page):
        self.page, self.clicks = page, 0

    def click(self, place):
        place.click()
        self.clicks += 1

    def choose(self, place, value):
        place.select_option(value)
        self.clicks += 1

    def type(self, text):
        """Into whatever a dialog has put the cursor in, once it is there."""
        expect(self.page.locator("dialog :focus")).to_be_visible()
        self.page.keyboard.type(text)

    def go(self, name):
        self.click(self.page.locator("nav").get_by_role("link", name=name))

    def open(self, name):
        self.click(self.page.locator("main").get_by_role("link", name=name, exact=True).first)

    def tab(self, name):
        self.click(self.page.locator(".tabs").get_by_role("link", name=name))

    def topic(self):
        self.go("Topics")
        self.open("shop")


@task("see how much is written now")
def _(page, hand):
    expect(page.locator(".card", has_text="Records in")).to_contain_text("/s")


@task("see how full memory is, and since when it grows")
def _(page, hand):
    expect(page.locator(".card", has_text="Memory")).to_contain_text("% of")
    expect(page.locator(".chart", has_text="in use")).to_be_visible()


@task("find a message by key")
def _(page, hand):
    hand.topic()
    hand.click(page.locator("#filter"))
    page.keyboard.type("key=k7")
    expect(page.locator("tbody tr.link")).to_have_count(1)


@task("see a message's headers")
def _(page, hand):
    hand.topic()
    hand.click(page.locator("tbody tr.link").nth(2))
    expect(page.locator(".detail dl")).to_contain_text("trace")


@task("read a value as MessagePack")
def _(page, hand):
    hand.topic()
    hand.click(page.locator("tbody tr.link").first)
    expect(page.locator(".detail")).to_contain_text('"id"')


@task("follow a topic live")
def _(page, hand):
    hand.topic()
    hand.choose(page.get_by_label("from where"), "live")
    expect(page.get_by_text("Waiting for records")).to_be_visible()


@task("read from an hour ago")
def _(page, hand):
    hand.topic()
    hand.choose(page.get_by_label("from where"), "time")
    expect(page.locator("tbody tr.link").first).to_contain_text("k0")


@task("export what a filter finds")
def _(page, hand):
    hand.topic()
    hand.click(page.locator("summary", has_text="Export"))
    with page.expect_download():
        hand.click(page.get_by_role("link", name="JSON lines"))


@task("send a message again")
def _(page, hand):
    hand.topic()
    hand.click(page.locator("tbody tr.link").first)
    hand.click(button(page, "Send again"))
    expect(page.locator(".toast")).to_contain_text("Sent again")


@task("write a message")
def _(page, hand):
    hand.topic()
    hand.click(button(page, "Write"))
    hand.type("hello")
    hand.click(page.locator("dialog").get_by_role("button", name="Write"))
    expect(page.locator(".toast")).to_contain_text("Written")


@task("see when the oldest records go, and by which rule")
def _(page, hand):
    hand.topic()
    hand.tab("Retention")
    expect(page.locator(".card", has_text="By which rule")).to_contain_text("retention.ms")


@task("see which configs of a topic were set, and by whom")
def _(page, hand):
    hand.topic()
    hand.tab("Configs")
    expect(page.locator("tbody tr").first.locator(".tag.accent")).to_be_visible()


@task("create a topic")
def _(page, hand):
    hand.go("Topics")
    hand.click(button(page, "New topic"))
    hand.type("made-by-hand")
    hand.click(page.locator("dialog").get_by_role("button", name="Create"))
    expect(page.locator("h1")).to_contain_text("made-by-hand")


@task("see which groups read a topic, and how far behind they are")
def _(page, hand):
    hand.topic()
    hand.tab("Groups")
    expect(page.locator("tbody tr", has_text="late")).to_contain_text(re.compile("no members0[1-9]"))


@task("find the group that is furthest behind")
def _(page, hand):
    expect(page.locator("section", has_text="Furthest behind").locator("tbody tr").first).to_contain_text("late")


@task("see why a consumer is behind")
def _(page, hand):
    hand.open("late")
    expect(page.get_by_text("Nobody reads: the group has no members.")).to_be_visible()


@task("see who caused the last rebalance, and who was waited for")
def _(page, hand):
    hand.go("Groups")
    hand.open("workers")
    hand.tab("Rebalances")
    expect(page.locator("section").first).to_contain_text("joined: worker-1")


@task("move a group to the oldest record, knowing what that does")
def _(page, hand):
    hand.go("Groups")
    hand.open("late")
    hand.click(button(page, "Reset offsets"))
    expect(page.locator("dialog")).to_contain_text("records are read again")
    hand.click(page.locator("dialog").get_by_role("button", name="Reset", exact=True))
    expect(page.locator("dialog")).to_have_count(0)


@task("see which client sends the largest requests")
def _(page, hand):
    hand.go("Clients")
    hand.click(page.get_by_role("button", name="Largest"))
    expect(page.locator("tbody tr").first).to_contain_text("writer-of-much")


@task("see what a client asked last, and what went wrong")
def _(page, hand):
    hand.go("Clients")
    hand.open("writer-of-much")
    expect(page.get_by_text("connection ")).to_be_visible()


@pytest.fixture(scope="module")
def shop():
    """A broker at which something is going on."""
    running = Running()
    running.topic("shop", 1, **{"retention.ms": "3600000"})
    producer = Producer({"bootstrap.servers": running.bootstrap, "client.id": "writer-of-much"})
    for n in range(100):
        producer.produce("shop", f'{{"n":{n}}}', f"k{n}", headers=[("trace", b"abc")])
    producer.produce("shop", PACKED, "packed", headers=[("trace", b"abc")])
    producer.produce("shop", b"x" * 100_000, "large", timestamp=int(time.time() * 1000) - 1)
    producer.produce("shop", PACKED, "packed-again")
    assert producer.flush(30) == 0
    running.commit("late", "shop", 7)
    settings = {"bootstrap.servers": running.bootstrap, "group.id": "workers"}
    consumers = [Consumer(settings | {"client.id": f"worker-{n}"}) for n in range(2)]
    consumers[0].subscribe(["shop"])
    until("one to hold the partition", lambda held: held == 1, lambda: (consumers[0].poll(0.1), len(consumers[0].assignment()))[1])
    consumers[1].subscribe(["shop"])
    told = lambda: ([one.poll(0.1) for one in consumers], len(running.api("/groups/workers")["members"]))[1]
    until("both to be members", lambda members: members == 2, told)
    yield running
    for consumer in consumers:
        consumer.close()
    running.stop()


def documented():
    rows = re.findall(r"^\| ([^|]+) \| (\d+)(?:: [^|]*)? \| [^|]+ \| [^|]+ \|$", DOCUMENTATION.read_text(), re.MULTILINE)
    return {name: int(clicks) for name, clicks in rows}


def test_every_task_is_in_the_documentation():
    assert list(documented()) == list(TASKS) and len(TASKS) == 20


@pytest.mark.parametrize("name", TASKS)
def test_a_task_takes_as_many_clicks_as_the_documentation_says(shop, open_page, name):
    page = open_page(shop)
    hand = Hand(page)
    expect(page.locator("section", has_text="Furthest behind")).to_contain_text("late")
    TASKS[name](page, hand)
    assert hand.clicks == documented()[name]
