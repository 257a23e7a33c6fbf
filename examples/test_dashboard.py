"""The dashboard in a real browser: every page and every action, hostile names and payloads, a broker that restarts.

Needs Chromium (Debian: `apt-get install chromium`), which Playwright drives; RUSTKA_CHROMIUM names another one. Each test
gets a page that fails the test if the browser had anything to complain about.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from helpers import DEADLINE_SECONDS, in_one_of, lasting_port, until

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
expect = playwright.expect
expect.set_options(timeout=DEADLINE_SECONDS * 1000)
CHROMIUM = os.environ.get("RUSTKA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-headless-shell")

# What would run if it were taken for markup, turn the line round, or break it.
HOSTILE = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"'><svg onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "${window.hacked=1}{{constructor.constructor('window.hacked=1')()}}",
    "\u202eevil\u2066\u200b\ufeff",
    "line\r\nbreak\x1b[2J\x00",
    "__proto__",
    "x" * 5000,
]
PAGES = ["overview", "topics", "groups", "clients", "requests", "security/users", "security/acls", "configs", "cleanup"]


class Running:
    """A broker process; it can be started again at the same ports."""

    def __init__(self, *arguments):
        self.arguments = list(arguments)
        self.ports = ["--port", str(lasting_port()), "--http-port", str(lasting_port())]
        self.start()

    def start(self):
        command = [os.environ["RUSTKA_BIN"], *self.ports, *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.bootstrap, self.http = ready["bootstrap"], f"http://{ready['http']}"

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=DEADLINE_SECONDS) == 0

    def api(self, path):
        with urllib.request.urlopen(f"{self.http}/api/v1{path}", timeout=DEADLINE_SECONDS) as answer:
            return json.load(answer)

    def topic(self, name, partitions=1, **config):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(timeout=DEADLINE_SECONDS)
        return name

    def write(self, topic, *records):
        producer = Producer({"bootstrap.servers": self.bootstrap, "client.id": "writer"})
        for key, value in records:
            producer.produce(topic, value, key)
        assert producer.flush(30) == 0

    def commit(self, group, topic, offset):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def broker():
    if not os.environ.get("RUSTKA_BIN"):
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    running = Running()
    yield running
    running.stop()


@pytest.fixture
def open_page(browser):
    """open_page(broker, "topics", **options) gives a page of the dashboard."""
    contexts, complaints = [], []

    def open_one(broker, path="overview", tolerate=(), **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DEADLINE_SECONDS * 1000)

        def complain(text):
            # Brokers of single tests go before their pages do.
            if not any(word in text for word in ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", *tolerate)):
                complaints.append(text)

        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda line: complain(line.text) if line.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: complain(f"a dialog: {dialog.message}"))
        page.goto(f"{broker.http}/#/{path}")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def confirm(page, name):
    page.locator("dialog").get_by_role("button", name=name).last.click()
    expect(page.locator("dialog")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 400])
def test_every_page_opens_and_fits(broker, open_page, theme, width):
    page = open_page(broker, color_scheme=theme, viewport={"width": width, "height": 800})
    for path in PAGES:
        page.goto(f"{broker.http}/#/{path}")
        expect(page.locator("main h1").first).to_be_visible()
        expect(page.locator("[role=alert]")).to_have_count(0)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_an_empty_broker_says_what_to_do(open_page):
    empty = Running()
    page = open_page(empty)
    for path, words in [
        ("overview", "No topics yet"),
        ("topics", "No topics yet"),
        ("groups", "No groups yet"),
        ("clients", "Nobody is connected"),
        ("requests", "Nothing was recorded yet"),
        ("nowhere", "There is no such page"),
        ("topics/none", "There is no such topic"),
        ("groups/none", "There is no such group"),
    ]:
        # The browser itself remarks on every 404.
        page = open_page(empty, path, tolerate=["404"])
        expect(page.get_by_text(words)).to_be_visible()
    empty.stop()


def test_a_topic_is_made_filled_changed_and_deleted(broker, open_page):
    page = open_page(broker, "topics")
    button(page, "New topic").click()
    page.fill("dialog input[name=name]", "made-here")
    page.fill("dialog input[name=partitions]", "2")
    page.fill("dialog textarea", "retention.ms=3600000")
    page.select_option("dialog select >> nth=0", "compact,delete")
    confirm(page, "Create")
    expect(page.locator("h1")).to_contain_text("made-here")
    assert broker.api("/topics/made-here")["cleanupPolicy"] == "compact,delete"

    button(page, "Write").click()
    page.fill("dialog input[name=key]", "k1")
    page.fill("dialog textarea[name=value]", '{"user":{"id":7},"big":12345678901234567890}')
    page.fill("dialog textarea[name=headers]", "trace: abc")
    page.select_option("dialog select[name=partition]", "1")
    confirm(page, "Write")
    page.locator("tbody tr.link").first.click()
    expect(page.locator(".detail")).to_contain_text("12345678901234567890")
    expect(page.locator(".detail dl")).to_contain_text("trace")
    for form in ["Text", "Hex", "MessagePack", "JSON"]:
        page.get_by_role("group", name="Value shown as").get_by_role("button", name=form).click()
    button(page, "Send again").click()
    expect(page.locator(".toast").last).to_contain_text("offset 1")
    button(page, "Edit and send").click()
    page.fill("dialog textarea[name=value]", "changed")
    confirm(page, "Write")
    expect(page.locator("tbody tr.link")).to_have_count(3)

    page.fill("#filter", ".user.id=7")
    expect(page.locator("tbody tr.link")).to_have_count(2)
    page.fill("#filter", "nothing like this")
    expect(page.get_by_text("No record fits the filter")).to_be_visible()
    page.fill("#filter", "")
    expect(page.locator("tbody tr.link")).to_have_count(3)
    with page.expect_download() as download:
        page.locator("summary", has_text="Export").click()
        page.get_by_role("link", name="JSON lines").click()
    assert len(download.value.path().read_text().splitlines()) == 3

    button(page, "Add partitions").click()
    confirm(page, "Add")
    page.get_by_role("link", name="Partitions").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Configs").click()
    page.fill("#search", "retention.ms")
    row = page.locator("tbody tr", has_text="retention.ms").filter(has_not_text="delete.retention.ms").filter(has_not_text="local.")
    expect(row).to_contain_text("3600000")
    row.get_by_role("button").click()
    page.fill("dialog input[name=value]", "7200000")
    confirm(page, "Set")
    expect(row).to_contain_text("7200000")
    row.get_by_role("button").click()
    button(page, "Back to the default").click()
    expect(row).to_contain_text("default")
    page.get_by_role("link", name="Retention").click()
    expect(page.get_by_text("Next to go")).to_be_visible()

    button(page, "Empty").click()
    confirm(page, "Delete the records")
    assert until("no records", lambda topic: topic["records"] == "0", lambda: broker.api("/topics/made-here"))
    button(page, "Delete").click()
    confirm(page, "Delete the topic")
    expect(page).to_have_url(re.compile("#/topics$"))
    assert "made-here" not in json.dumps(broker.api("/topics"))


def test_a_mistake_is_told_where_it_was_made(broker, open_page):
    page = open_page(broker, "topics?new=1", tolerate=["422"])
    page.fill("dialog input[name=name]", "not a name")
    page.locator("dialog").get_by_role("button", name="Create").click()
    expect(page.locator("dialog [role=alert]")).to_contain_text("character other than")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_what_is_written_shows_up_live(broker, open_page):
    topic = broker.topic("followed", 3)
    page = open_page(broker, f"topics/{topic}?start=live")
    expect(page.get_by_text("Waiting for records")).to_be_visible()
    broker.write(topic, *[(b"k%d" % n, b"v%d" % n) for n in range(20)])
    expect(page.locator("tbody tr.link")).to_have_count(20)
    page.fill("#filter", "key=later")
    expect(page.get_by_text("Waiting for records")).to_be_visible()
    broker.write(topic, (b"other", b"x"), (b"later", b"y"))
    expect(page.locator("tbody tr.link")).to_have_count(1)


def test_a_large_record_that_came_live_is_whole_once_it_is_opened(broker, open_page):
    topic = broker.topic("large-and-live")
    page = open_page(broker, f"topics/{topic}?start=live")
    expect(page.get_by_text("Waiting for records")).to_be_visible()
    broker.write(topic, (b"k", b'{"text":"%s","end":"here"}' % (b"x" * 10_000)))
    page.locator("tbody tr.link").click()
    expect(page.locator(".detail")).to_contain_text("here")


def test_places_in_a_topic_have_links(broker, open_page):
    topic = broker.topic("places")
    broker.write(topic, *[(b"k", b"value-%d" % n) for n in range(120)])
    page = open_page(broker, f"topics/{topic}?start=100")
    expect(page.locator("tbody tr.link").first).to_contain_text("value-100")
    page.goto(f"{broker.http}/#/topics/{topic}?start=oldest")
    expect(page.locator("tbody tr.link").first).to_contain_text("value-0")
    button(page, "Next").click()
    expect(page.locator("tbody tr.link")).to_have_count(100)
    page.get_by_label("from where").select_option("newest")
    expect(page.locator("tbody tr.link").first).to_contain_text("value-119")
    page.goto(f"{broker.http}/#/topics/{topic}?filter=value-7")
    expect(page.locator("tbody tr.link")).to_have_count(11)


def test_names_and_payloads_of_others_are_text(broker, open_page):
    """Attacks, rows 29 and 33."""
    topic = broker.topic("hostile")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": HOSTILE[1]})
    for text in HOSTILE:
        producer.produce(topic, text.encode(), text.encode(), headers=[(text[:100].replace("\x00", ""), text.encode())])
    producer.produce(topic, bytes(range(256)), bytes([0xDF, 0xFF, 0xFF, 0xFF, 0xFF]))
    # MessagePack that is nested deeper than anybody nests, and one that promises more than it has.
    producer.produce(topic, b"\x91" * 5000 + b"\xc0", b"deep")
    producer.produce(topic, b"\xdd\x00\x00\xff\xff\x01", b"more")
    assert producer.flush(30) == 0
    groups = [text for text in HOSTILE if "\x00" not in text and len(text) < 200]
    for group in groups:
        broker.commit(group, topic, 1)

    page = open_page(broker, f"topics/{topic}")
    expect(page.locator("tbody tr.link")).to_have_count(len(HOSTILE) + 3)
    for row in page.locator("tbody tr.link").all():
        row.click()
        expect(page.locator("tr.detail")).to_have_count(1)
        for form in ["Text", "Hex", "MessagePack", "JSON"]:
            page.get_by_role("group", name="Value shown as").get_by_role("button", name=form).click()
        row.click()
    page.goto(f"{broker.http}/#/groups")
    expect(page.locator("tbody tr.link")).to_have_count(len(groups))
    for n in range(len(groups)):
        page.goto(f"{broker.http}/#/groups")
        page.locator("tbody tr.link").nth(n).click()
        for tab in ["Members", "Rebalances", "Lag"]:
            page.get_by_role("link", name=tab, exact=True).click()
        expect(page.locator("tbody")).to_contain_text(topic)
        button(page, "Reset offsets").click()
        page.keyboard.press("Escape")
    for path in ["clients", "requests", "overview"]:
        page.goto(f"{broker.http}/#/{path}")
        expect(page.locator("main h1")).to_be_visible()
        page.wait_for_load_state()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("Object.prototype.value") is None
    assert page.locator("main script, main img, main svg").count() == 0
    # Nobody is fooled by the direction of writing.
    page.goto(f"{broker.http}/#/topics/{topic}?filter=evil")
    expect(page.locator("tbody tr.link td.key")).to_contain_text("\\u202e")


def test_a_group_is_looked_at_reset_and_deleted(broker, open_page):
    topic = broker.topic("read-by-group")
    broker.write(topic, *[(b"k", b"v")] * 10)
    broker.commit("readers", topic, 4)
    page = open_page(broker, "groups")
    page.fill("#search", "readers")
    expect(page.locator("tbody tr.link")).to_have_count(1)
    page.locator("tbody tr.link").click()
    expect(page.locator("tbody tr td.num b")).to_have_text("6")
    button(page, "Reset offsets").click()
    expect(page.locator("dialog")).to_contain_text("4 records are read again")
    page.select_option("dialog select[name=to]", "time")
    expect(page.locator("dialog").get_by_role("button", name="Reset", exact=True)).to_be_disabled()
    page.select_option("dialog select[name=to]", "latest")
    expect(page.locator("dialog")).to_contain_text("6 records are skipped")
    assert broker.api("/groups/readers")["lag"] == "6"
    page.locator("dialog").get_by_role("button", name="Reset", exact=True).click()
    expect(page.locator("dialog")).to_have_count(0)
    assert broker.api("/groups/readers")["lag"] == "0"
    button(page, "Delete").click()
    confirm(page, "Delete the group")
    expect(page).to_have_url(re.compile("#/groups$"))


def test_charts_of_what_is_in_view_and_why_a_group_is_behind(broker, open_page):
    topic = broker.topic("charted")
    broker.write(topic, *[(b"k", b"v")] * 30)
    broker.commit("slow", topic, 10)
    page = open_page(broker, f"topics/{topic}/activity")
    expect(page.locator("canvas")).to_have_count(4)

    written = 30

    def written_and_seen():
        nonlocal written
        broker.write(topic, (b"k", b"v"))
        written += 1
        return broker.api(f"/topics/{topic}/history")

    until("records in its chart", lambda told: any(told["series"]["recordsIn"]), written_and_seen)
    expect(page.locator(".chart", has_text="Records held")).to_contain_text(f"held {written}")
    page.goto(f"{broker.http}/#/groups/slow")
    expect(page.locator("canvas")).to_have_count(2)
    expect(page.locator(".chart", has_text="Left to read")).to_contain_text(f"records {written - 10}")
    expect(page.get_by_text("Nobody reads: the group has no members.")).to_be_visible()
    page.goto(f"{broker.http}/#/overview")
    expect(page.locator("section", has_text="Furthest behind")).to_contain_text("slow")
    page.get_by_role("link", name="Busiest topics").click()
    expect(page).to_have_url(re.compile("sort=byteRate"))


def test_a_removed_user_has_to_log_in_again(open_page):
    own = Running("--user", "admin:admin-secret")
    admin = open_page(own, "security", tolerate=["401"])
    admin.fill("input[name=user]", "admin")
    admin.fill("input[name=password]", "admin-secret")
    button(admin, "Log in").click()
    button(admin, "Add user").click()
    admin.fill("dialog input[name=user]", "guest")
    admin.fill("dialog input[name=password]", "guest-secret")
    confirm(admin, "Set")
    guest = open_page(own, "topics", tolerate=["401"])
    guest.fill("input[name=user]", "guest")
    guest.fill("input[name=password]", "guest-secret")
    button(guest, "Log in").click()
    expect(guest.get_by_text("No topics yet")).to_be_visible()
    admin.locator("tbody tr", has_text="guest").get_by_role("button", name="Remove").click()
    confirm(admin, "Remove")
    expect(guest.locator("input[name=user]")).to_be_visible()
    own.stop()


def test_who_caused_a_rebalance_and_who_is_behind(broker, open_page):
    topic = broker.topic("rebalanced", 2)
    broker.write(topic, *[(b"k", b"v")] * 5)
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": "workers", "auto.offset.reset": "earliest"}
    consumers = [Consumer(settings | {"client.id": f"worker-{n}"}) for n in range(2)]
    for consumer in consumers:
        consumer.subscribe([topic])

    def both():
        for consumer in consumers:
            consumer.poll(0.1)
        return [len(consumer.assignment()) for consumer in consumers]

    until("both to hold one partition", lambda shares: shares == [1, 1], both)
    page = open_page(broker, "groups/workers/timeline")
    expect(page.locator("section").first).to_contain_text("a new member joined: worker-")
    page.get_by_role("link", name="Members").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.goto(f"{broker.http}/#/clients")
    page.fill("#search", "worker-1")
    expect(page.locator("tbody tr").first).to_contain_text("confluent-kafka-python")
    page.locator("tbody").get_by_role("link", name="worker-1").first.click()
    until("a request of it", lambda count: count > 0, lambda: both() and page.locator("tbody tr.link").count())
    # Rows that come in meanwhile would move the one that is clicked.
    button(page, "Hold").click()
    page.locator("tbody tr.link").first.click()
    expect(page.locator("section pre")).not_to_have_count(0)
    button(page, "Keep recording").click()
    expect(button(page, "Stop recording")).to_be_visible()
    button(page, "Stop recording").click()
    for consumer in consumers:
        consumer.close()


def test_a_connection_is_closed(broker, open_page):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": "to-be-closed"})
    producer.list_topics(timeout=30)
    page = open_page(broker, "clients?search=to-be-closed")
    page.locator("tbody").get_by_role("button", name="Close").first.click()
    confirm(page, "Close it")
    expect(page.locator(".toast")).to_contain_text("closed")


def test_users_and_acls_are_added_and_removed(open_page):
    guarded = Running("-c", "authorizer.class.name=x", "-c", "super.users=User:ANONYMOUS")
    page = open_page(guarded, "security")
    button(page, "Add user").click()
    page.fill("dialog input[name=user]", "alice")
    page.fill("dialog input[name=password]", "alice-secret")
    confirm(page, "Set")
    expect(page.locator("tbody tr")).to_contain_text("SCRAM-SHA-512")
    button(page, "Remove").click()
    confirm(page, "Remove")
    expect(page.get_by_text("No users")).to_be_visible()
    page.get_by_role("link", name="ACLs", exact=True).click()
    button(page, "Add ACL").click()
    page.fill("dialog input[name=principal]", "User:alice")
    page.fill("dialog input[name=name]", "shop-")
    page.select_option("dialog select[name=pattern]", "prefixed")
    page.locator("dialog").get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("tbody tr")).to_contain_text("User:alice")
    button(page, "Remove").click()
    confirm(page, "Remove")
    expect(page.get_by_text("No ACLs")).to_be_visible()
    page.get_by_role("link", name="Quotas", exact=True).click()
    button(page, "Set quota").click()
    page.fill("dialog input[name=name]", "shop")
    page.fill("dialog input[name=value]", "2048")
    confirm(page, "Set")
    expect(page.locator("tbody tr")).to_contain_text("2.0 KiB/s")
    button(page, "Remove").click()
    expect(page.get_by_text("No quotas")).to_be_visible()
    guarded.stop()


def test_cleaning_up_asks_for_the_number(open_page):
    own = Running()
    own.topic("nothing-in-it")
    own.write(own.topic("full"), *[(b"k", b"v")] * 1234)
    page = open_page(own, "cleanup")
    button(page, "Remove 1 topics").click()
    confirm(page, "Remove them")
    expect(page.get_by_text("Every topic holds something")).to_be_visible()
    button(page, "Delete 1,234 messages").click()
    done = page.locator("dialog").get_by_role("button", name="Delete them")
    expect(done).to_be_disabled()
    page.fill("dialog input", "1234")
    done.click()
    expect(page.get_by_text("There are none that may be deleted")).to_be_visible()
    own.stop()


def test_a_page_goes_on_when_the_broker_is_back(open_page):
    own = Running()
    page = open_page(own, "topics", tolerate=["ERR_CONNECTION", "Failed to load"])
    expect(page.get_by_text("No topics yet")).to_be_visible()
    own.stop()
    expect(page.get_by_text("The broker does not answer")).to_be_visible()
    own.start()
    expect(page.get_by_text("The broker does not answer")).to_have_count(0)
    own.topic("after-the-restart")
    expect(page.get_by_text("after-the-restart")).to_be_visible()
    own.stop()


def test_one_logs_in_with_a_user_of_the_broker(open_page):
    own = Running("--user", "admin:admin-secret", "-c", "super.users=User:admin", "-c", "authorizer.class.name=x", "--user", "bob:bob-secret")
    page = open_page(own, "topics", tolerate=["401", "403"])
    page.fill("input[name=user]", "bob")
    page.fill("input[name=password]", "guess")
    button(page, "Log in").click()
    expect(page.locator("dialog [role=alert]")).to_contain_text("no such user")
    page.fill("input[name=password]", "bob-secret")
    button(page, "Log in").click()
    expect(page.get_by_text("No topics yet")).to_be_visible()
    button(page, "New topic").click()
    page.fill("dialog input[name=name]", "not-for-bob")
    page.locator("dialog").get_by_role("button", name="Create").click()
    expect(page.locator("dialog [role=alert]")).to_contain_text("may not be created")
    page.keyboard.press("Escape")
    page.get_by_title("log out").click()
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", "admin-secret")
    button(page, "Log in").click()
    button(page, "New topic").click()
    page.fill("dialog input[name=name]", "for-admin")
    confirm(page, "Create")
    expect(page.locator("h1")).to_contain_text("for-admin")
    own.stop()


def test_from_elsewhere_one_may_only_look_without_the_token(open_page):
    own = Running("--http-token", "open-sesame")
    afar = {"extra_http_headers": {"x-forwarded-for": "192.0.2.1"}}
    page = open_page(own, "topics", tolerate=["401"], **afar)
    expect(page.get_by_text("Read only:")).to_be_visible()
    expect(button(page, "New topic")).to_be_disabled()
    page.get_by_text("Give the token").click()
    page.fill("input[name=token]", "guess")
    button(page, "Unlock").click()
    expect(page.locator("dialog [role=alert]")).to_contain_text("not the token")
    page.fill("input[name=token]", "open-sesame")
    button(page, "Unlock").click()
    expect(page.get_by_text("Read only:")).to_have_count(0)
    expect(button(page, "New topic")).to_be_enabled()
    own.stop()


def test_it_is_used_without_a_mouse(broker, open_page):
    broker.write(broker.topic("by-keyboard"), (b"k", b"v"))
    page = open_page(broker)
    expect(page.locator("h1")).to_have_text("Overview")

    def go_to_topics():
        # One soon after the other, which a machine that stands still in between does not give the page.
        page.keyboard.press("g")
        page.keyboard.press("t")
        return page.locator("h1").inner_text()

    until("the topics", lambda title: "Topics" in title, go_to_topics)
    page.keyboard.press("/")
    page.keyboard.type("by-keyboard")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("by-keyboard")
    expect(page.locator("tbody tr.link")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("this list")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_ten_thousand_partitions_are_paged(open_page):
    own = Running()
    own.topic("wide", 10_000)
    page = open_page(own, "topics/wide/partitions")
    expect(page.locator("tbody tr")).to_have_count(100)
    button(page, "next →").click()
    expect(page.locator("tbody tr").first).to_contain_text("100")
    page.goto(f"{own.http}/#/topics")
    expect(page.locator("tbody tr")).to_contain_text("10,000")
    own.stop()


def test_the_first_paint_costs_little(broker, open_page):
    def painted():
        page = open_page(broker, "topics")
        expect(page.locator("main h1")).to_be_visible()
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.reload()
        expect(page.locator("main h1")).to_be_visible()
        told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        spent_ms = 1000 * (told["ScriptDuration"] + told["LayoutDuration"] + told["RecalcStyleDuration"])
        print(f"script, layout and style until the first page: {spent_ms:.0f} ms")
        # 100 ms on a machine that does nothing else; this one may.
        assert spent_ms < 400

    in_one_of(5, painted)
