"""What a function does, as its text tells: its effects, how often, and what is no effect."""

from __future__ import annotations

import pytest

from resonate_amqp.ext.scanning.effects import Kind
from tests.ext.scanning.texts import Texts


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("requests.post('http://x', json=order)", Kind.REQUEST),
        ("requests.request('PUT', 'http://x')", Kind.REQUEST),
        ("self.session.post('http://x')", Kind.REQUEST),
        ("urllib.request.urlopen(urllib.request.Request('http://x', b''))", Kind.REQUEST),
        ("urllib.request.urlopen('http://x', data=b'')", Kind.REQUEST),
        ("Book.objects.create(title=order)", Kind.DATABASE),
        ("Book.objects.filter(id=order).update(sold=True)", Kind.DATABASE),
        ("book = Book(); book.save()", Kind.DATABASE),
        ("session.commit()", Kind.DATABASE),
        ("cursor.execute('INSERT INTO books VALUES (?)', (order,))", Kind.DATABASE),
        ("send_mail('Hello', 'You', 'me@x', ['you@x'])", Kind.MAIL),
        ("smtplib.SMTP('x').sendmail('a', 'b', 'c')", Kind.MAIL),
        ("producer.publish(order)", Kind.PUBLISH),
        ("channel.basic_publish('', 'q', order)", Kind.PUBLISH),
        ("redis.incr('sold')", Kind.STORE),
        ("bucket.upload_file('a', 'b')", Kind.STORE),
        ("open('log', 'a').write(order)", Kind.STORE),
        ("subprocess.run(['pack', order])", Kind.PROGRAM),
        ("time.sleep(3)", Kind.SLEEP),
        ("while order: time.sleep(3)", Kind.POLL),
        ("add.delay(1, 2)", Kind.TASK),
        ("app.send_task('add', (1, 2))", Kind.TASK),
        ("transaction.on_commit(lambda: add.delay(1, 2))", Kind.TASK),
        ("transaction.on_commit(partial(add.delay, 1, 2))", Kind.TASK),
        ("group(add.s(1, 2))()", Kind.TASK),
        ("self.replace(add.s(1, 2))", Kind.TASK),
        ("AsyncResult(order).get()", Kind.WAIT),
        ("add.delay(1, 2).get()", Kind.WAIT),
        ("connection.drain_events()", Kind.WAIT),
        ("with c.SimpleQueue('replies') as replies: replies.get(timeout=3)", Kind.WAIT),
    ],
)
def test_what_changes_something_or_waits_is_seen(texts: Texts, statement: str, kind: Kind) -> None:
    assert kind in texts.reader().read(texts.body(statement)).kinds


@pytest.mark.parametrize(
    "statement",
    [
        "requests.get('http://x')",
        "requests.request('GET', 'http://x')",
        "urllib.request.urlopen('http://x')",
        "cursor.execute('SELECT 1')",
        "{}.update(a=1)",
        "{}.get('a')",
        "order.replace('a', 'b')",
        "Book.objects.filter(id=order).first()",
        "open('log').read()",
        "open('log', 'w').write(order)",
        "def inner():\n    requests.post('http://x')",
    ],
)
def test_what_reads_or_is_not_run_is_no_effect(texts: Texts, statement: str) -> None:
    assert texts.reader().read(texts.body(statement)).kinds == frozenset()


@pytest.mark.parametrize(
    ("statements", "times"),
    [
        ("requests.post('a')\nrequests.post('b')", 2),
        ("if order:\n    requests.post('a')\nelse:\n    requests.post('b')", 1),
        ("if order:\n    requests.post('a')\n    return\nrequests.post('b')", 1),
        ("if order:\n    requests.post('a')\nrequests.post('b')", 2),
        ("for one in order:\n    requests.post(one)", 2),
        ("[requests.post(one) for one in order]", 2),
        ("while True:\n    requests.post('a')\n    break", 1),
        ("try:\n    requests.post('a')\nexcept OSError:\n    requests.post('b')", 1),
        ("match order:\n    case 1:\n        requests.post('a')\n    case _:\n        pass", 1),
        ("with transaction.atomic():\n    order.save()\n    self.save()", 1),
        ("order.save()\nself.save()", 2),
        ("session.add(order)\nsession.add(self)\nsession.commit()", 1),
        ("with connection:\n    c.execute('INSERT')\n    c.execute('DELETE')", 1),
        ("with transaction.atomic():\n    order.save()\n    requests.post('a')", 2),
    ],
)
def test_effects_are_counted_as_one_run_has_them(texts: Texts, statements: str, times: int) -> None:
    assert texts.times(statements) == times


def test_a_function_of_the_project_does_what_it_calls_in_other_files(texts: Texts) -> None:
    texts.write("mails", "import smtplib\n\n\ndef letter(x):\n    smtplib.SMTP(x).sendmail(x)\n")
    texts.write("notes", "from mails import letter\n")
    place = texts.function("from notes import letter\n\n\ndef task(x):\n    return letter(x)\n")
    (act,) = texts.reader().read(place).acts
    assert (set(act.kinds), act.times) == ({Kind.MAIL}, 1)
    assert act.helper is not None
    assert act.helper.dotted == "mails.letter"


def test_methods_and_functions_inside_are_followed(texts: Texts) -> None:
    place = texts.function(
        """
        class Shop:
            def charge(self):
                requests.post("a")

            def run(self):
                def note():
                    requests.post("b")

                self.charge()
                note()
        """,
        "Shop.run",
    )
    assert texts.reader().read(place).times == 2


def test_functions_that_call_each_other_are_read_once(texts: Texts) -> None:
    place = texts.function(
        """
        def task(x):
            requests.post("a")
            other(x)

        def other(x):
            task(x)
        """
    )
    assert texts.reader().read(place).times == 1


def test_one_effect_that_is_tried_again_is_one_step(texts: Texts) -> None:
    place = texts.function(
        """
        def task(x):
            charge(x)

        def charge(x):
            while True:
                try:
                    return requests.post(x)
                except OSError:
                    time.sleep(1)
        """
    )
    reading = texts.reader().read(place)
    assert (reading.times, [act.outside for act in reading.acts]) == (1, [False])


@pytest.mark.parametrize("key", ["uuid.uuid4()", "str(uuid.uuid4())", "random.random()"])
def test_a_key_that_is_drawn_anew_is_warned_of(texts: Texts, key: str) -> None:
    (remark,) = texts.reader().read(texts.body(f"requests.post('a', key={key})")).drawn
    assert key.removeprefix("str(").rstrip(")") in remark.text
    assert "ctx.id" in remark.text
