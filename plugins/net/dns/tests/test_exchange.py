"""Questions and answers: which messages count, and what they say."""

from __future__ import annotations

import random

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from jefeos.errors import Errno, KernelError
from jefeos.sched.clock import Entropy
from jefeos_net_dns.cache import MOST_ENTRIES, Answer, Cache
from jefeos_net_dns.exchange import is_answer, make_question, read_answer
from jefeos_net_dns.resolver import candidates

A, CNAME = dns.rdatatype.A, dns.rdatatype.CNAME


def answered(question: dns.message.Message, *records: tuple[str, int, str, str]) -> dns.message.Message:
    """An answer with records (owner, time to live, type, text)."""
    message = dns.message.make_response(question)
    message.answer = [dns.rrset.from_text(owner, ttl, "IN", kind, text) for owner, ttl, kind, text in records]
    return dns.message.from_wire(message.to_wire())


@pytest.fixture
def question() -> dns.message.Message:
    return make_question("www.example.org", A, Entropy(1))


def test_ids_are_drawn() -> None:
    entropy = Entropy(1)
    assert len({make_question("a", A, entropy).id for _ in range(100)}) > 90


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "x" * 63 + ("." + "x" * 63) * 4])
def test_what_cannot_be_a_name_does_not_exist(name: str) -> None:
    with pytest.raises(KernelError) as caught:
        make_question(name, A, Entropy(1))
    assert caught.value.errno == Errno.ENOENT


def test_only_the_answer_to_the_question_counts(question: dns.message.Message) -> None:
    message = answered(question, ("www.example.org.", 60, "A", "192.0.2.1"))
    assert is_answer(message.to_wire(), question) is not None
    message.id ^= 1
    assert is_answer(message.to_wire(), question) is None
    assert is_answer(question.to_wire(), question) is None  # a question is no answer
    other = make_question("www.example.com", A, Entropy(1))
    other.id = question.id
    assert is_answer(answered(other, ("www.example.com.", 60, "A", "192.0.2.1")).to_wire(), question) is None


def test_truncations_and_random_bytes_never_raise(question: dns.message.Message) -> None:
    data = answered(
        question, ("www.example.org.", 60, "CNAME", "a.example.org."), ("a.example.org.", 9, "A", "192.0.2.1")
    ).to_wire()
    chance = random.Random(2)
    for length in range(len(data)):
        is_answer(data[:length], question)
    for _ in range(20_000):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            broken[chance.randrange(2, len(broken))] = chance.randrange(256)
        message = is_answer(bytes(broken), question)
        if message is not None:
            try:
                read_answer(message, "www.example.org", A)
            except KernelError:
                continue


def test_aliases_are_followed_and_the_shortest_life_counts(question: dns.message.Message) -> None:
    message = answered(
        question, ("www.example.org.", 60, "CNAME", "a.example.org."), ("a.example.org.", 9, "A", "192.0.2.1")
    )
    assert read_answer(message, "www.example.org", A) == (Answer(("192.0.2.1",)), 9, "a.example.org")


def test_an_alias_without_its_target_gives_the_name_to_ask_next(question: dns.message.Message) -> None:
    message = answered(question, ("www.example.org.", 60, "CNAME", "elsewhere.test."))
    answer, _, name = read_answer(message, "www.example.org", A)
    assert (answer.values, name) == ((), "elsewhere.test")


def test_aliases_in_a_circle_are_an_error(question: dns.message.Message) -> None:
    message = answered(
        question, ("www.example.org.", 60, "CNAME", "b.test."), ("b.test.", 60, "CNAME", "www.example.org.")
    )
    with pytest.raises(KernelError, match="lead nowhere"):
        read_answer(message, "www.example.org", A)


def test_a_missing_name_is_remembered_as_its_zone_says(question: dns.message.Message) -> None:
    message = answered(question)
    message.set_rcode(3)
    message.authority = [dns.rrset.from_text("example.org.", 500, "IN", "SOA", "a. b. 1 2 3 4 77")]
    answer, ttl_s, _ = read_answer(message, "www.example.org", A)
    assert (answer.exists, answer.values, ttl_s) == (False, (), 77)


def test_the_cache_keeps_time_and_is_bounded() -> None:
    cache = Cache()
    cache.put(("a", 1), Answer(("192.0.2.1",)), 10, 100.0)
    cache.put(("b", 1), Answer(("192.0.2.1",)), 0, 100.0)
    assert cache.get(("a", 1), 109.9) == Answer(("192.0.2.1",))
    assert cache.get(("a", 1), 110.0) is None
    assert cache.get(("b", 1), 100.0) is None
    for number in range(3 * MOST_ENTRIES):
        cache.put((str(number), 1), Answer(("192.0.2.1",)), 10, 0.0)
    assert len(cache) == MOST_ENTRIES


def test_the_search_list() -> None:
    assert candidates("host", ["lan", "example.org."]) == ["host.lan", "host.example.org", "host"]
    assert candidates("a.b", ["lan"]) == ["a.b", "a.b.lan"]
    assert candidates("host.", ["lan"]) == ["host."]
