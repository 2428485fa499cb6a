"""Statements in managed policies: nothing lost, nothing added, each one fits, and a small edit changes little."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ci_user.errors import PolicyError
from ci_user.policy import documents
from ci_user.policy.pack import Source, pack, pack_name

ROOT = Path(__file__).resolve().parents[3]
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
ROOM = documents.MANAGED_POLICY_SIZE - len('{"Version":"2012-10-17","Statement":[]}')

Packs = Mapping[str, str]


def source(name: str, *statements: Mapping[str, Any], **more: Any) -> Source:
    return Source(name, {"Version": "2012-10-17", "Statement": list(statements), **more}, f"{name}.json")


def entries(packs: Packs) -> list[dict[str, Any]]:
    return [entry for text in packs.values() for entry in json.loads(text)["Statement"]]


def atoms(statements: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count each effect, action, resource and condition that the statements combine; what is not divided counts as a whole."""
    found: Counter[str] = Counter()
    for entry in statements:
        rest = {key: value for key, value in entry.items() if key not in ("Sid", "Action", "Resource")}
        for action in listed(entry.get("Action")):
            for resource in listed(entry.get("Resource")):
                found[json.dumps([rest, action, resource], sort_keys=True)] += 1
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def large(size: int, **more: Any) -> dict[str, Any]:
    """Return a statement of exactly so many characters."""
    entry = {**ALLOW, "Resource": "arn:aws:s3:::", **more}
    missing = size - documents.size(documents.canonical(entry))
    return {**entry, "Resource": f"arn:aws:s3:::{'x' * missing}"}


texts = st.text("abcdefgh*", min_size=1, max_size=12)
several = st.lists(texts, min_size=1, max_size=4)
bulky = st.integers(1, 250).map(lambda count: [f"service:ActionWithALongName{n}" for n in range(count)])


@st.composite
def some_statements(draw: st.DrawFn) -> dict[str, Any]:
    allows = draw(st.booleans())
    entry: dict[str, Any] = {"Effect": "Allow" if allows else "Deny"}
    if draw(st.booleans()):
        entry["Sid"] = draw(st.sampled_from(["A", "B", "A2", "Logs"]))
    if draw(st.integers(0, 5)) == 0:
        entry["NotAction"] = draw(several)
    else:
        entry["Action"] = draw(several | texts | (bulky if allows else several))
    if draw(st.integers(0, 5)) == 0:
        entry["NotResource"] = draw(several | texts)
    else:
        entry["Resource"] = draw(several | texts | (bulky if allows else several))
    if draw(st.booleans()):
        entry["Condition"] = {"StringEquals": {"aws:ResourceAccount": draw(texts)}}
    return entry


some_sources = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.lists(some_statements(), min_size=1, max_size=5)),
    min_size=1,
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [source(name, *statements) for name, statements in pairs])


@settings(deadline=None)
@given(some_sources)
def test_nothing_is_lost_nothing_is_added_and_each_one_fits(sources: list[Source]) -> None:
    before = [entry for one in sources for entry in one.document["Statement"]]
    packs = pack(sources, "shop", most=500)
    assert list(packs) == [pack_name("shop", number) for number in range(1, len(packs) + 1)]
    assert all(documents.size(text) <= documents.MANAGED_POLICY_SIZE for text in packs.values())
    assert atoms(entries(packs)) == atoms(before)
    # Each Deny, and whatever else need not be divided, is there as it was.
    whole = Counter(shown(entry) for entry in entries(packs))
    for entry, count in Counter(shown(e) for e in before if documents.size(e) <= ROOM).items():
        assert whole[entry] >= count
    for text in packs.values():
        sids = [entry["Sid"] for entry in json.loads(text)["Statement"] if "Sid" in entry]
        assert len(sids) == len(set(sids))


def shown(entry: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in entry.items() if key != "Sid"}, sort_keys=True)


@settings(deadline=None)
@given(some_sources, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_sources_nor_chance_counts(sources: list[Source], chance: random.Random) -> None:
    shuffled = list(sources)
    chance.shuffle(shuffled)

    def packed(order: Sequence[Source]) -> Packs | str:
        try:
            return pack(order, "shop")
        except PolicyError as error:
            return str(error)

    assert packed(sources) == packed(shuffled) == packed(sources)


@given(st.lists(st.integers(60, ROOM) | st.integers(ROOM // 4, ROOM // 2 + 2), min_size=1, max_size=9))
@example([2128] * 5 + [3977] * 3)
def test_there_are_as_few_as_can_be_or_one_more(sizes: list[int]) -> None:
    packs = pack([source("a", *(large(size, Sid=f"S{i}") for i, size in enumerate(sizes)))], "a", most=40)
    assert len(packs) <= fewest(sizes) + 1


def fewest(sizes: list[int]) -> int:
    """Return how many policies are needed at least, found by trying every way; a comma stands between two statements."""
    best: dict[int, tuple[int, int]] = {0: (0, ROOM + 1)}
    for chosen in range(1, 1 << len(sizes)):
        ways = []
        for index, size in enumerate(sizes):
            if chosen & (1 << index):
                full, room = best[chosen & ~(1 << index)]
                fits = full > 0 and size + 1 <= room
                # The last policy with the more room is the better one of two ways with as many.
                ways.append((full, -(room - size - 1)) if fits else (full + 1, -(ROOM - size)))
        full, used = min(ways)
        best[chosen] = (full, -used)
    return best[(1 << len(sizes)) - 1][0]


def test_one_policy_that_fits_stays_as_it_is() -> None:
    sample = documents.read_policy("sample", ROOT)
    packs = pack([Source("sample", sample, "sample.json")], "sample")
    assert packs == {"sample": documents.canonical(sample)}
    odd = source("odd", {**ALLOW, "Action": ["b:c", "a:b"]}, ALLOW, Id="kept")
    assert pack([odd], "odd") == {"odd": documents.canonical(odd.document)}


def test_one_that_just_fits_and_one_that_does_not() -> None:
    assert list(pack([source("a", large(ROOM))], "a")) == ["a"]
    two = pack([source("a", large(ROOM), ALLOW)], "a")
    assert [len(json.loads(text)["Statement"]) for text in two.values()] in ([1, 1],)
    with pytest.raises(PolicyError, match="6,145 characters") as caught:
        pack([source("a", large(ROOM + 1))], "a")
    assert caught.value.where == "a.json"


@pytest.mark.parametrize(
    "entry",
    [
        {"Effect": "Deny", "Action": [f"service:Action{n}" for n in range(400)], "Resource": "*"},
        {"Effect": "Allow", "NotAction": [f"service:Action{n}" for n in range(400)], "Resource": "*"},
        {"Effect": "Allow", "Action": "a:b", "NotResource": [f"service:Action{n}" for n in range(400)]},
        {"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": {"StringEquals": {"a:b": ["x" * 7000]}}},
        {"Effect": "Allow", "Action": ["a:b", f"a:{'c' * 7000}"], "Resource": "*"},
    ],
)
def test_what_cannot_be_divided_is_refused_with_its_place(entry: dict[str, Any]) -> None:
    with pytest.raises(PolicyError) as caught:
        pack([source("a", ALLOW), source("b", ALLOW, {"Sid": "Big", **entry})], "combined")
    error = caught.value
    assert "statement 2 (Big) of b" in error.what
    assert error.where == "b.json"
    assert error.expected == "at most 6,144: IAM's limit for one managed policy"
    assert error.do is not None
    assert error.do.startswith("divide the statement by hand: ")


def test_an_allow_is_divided_by_its_actions() -> None:
    actions = [f"service:Action{number}" for number in range(500)]
    entry = {"Sid": "Big", "Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::x"}
    packs = pack([source("a", entry)], "a")
    parts = entries(packs)
    assert list(packs) == ["a", "a-2"]
    assert [part["Sid"] for part in parts] == ["Big", "Big2"]
    assert all({**part, "Action": 0, "Sid": 0} == {**entry, "Action": 0, "Sid": 0} for part in parts)
    assert Counter(action for part in parts for action in part["Action"]) == Counter(actions)
    for part in parts:
        assert part["Action"] == sorted(part["Action"], key=actions.index)


def test_an_allow_of_one_action_is_divided_by_its_resources() -> None:
    resources = [f"arn:aws:s3:::bucket-{number}" for number in range(500)]
    entry = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resources}
    packs = pack([source("a", entry)], "a")
    assert len(packs) == 3
    assert atoms(entries(packs)) == atoms([entry])


def test_an_allow_with_two_long_lists_is_divided_by_both() -> None:
    entry = {
        "Effect": "Allow",
        "Action": [f"service:Action{number}" for number in range(350)],
        "Resource": [f"arn:aws:s3:::bucket-{number}" for number in range(250)],
    }
    packs = pack([source("a", entry)], "a")
    assert atoms(entries(packs)) == atoms([entry])


def test_an_added_action_changes_one_part_of_a_divided_statement() -> None:
    actions = [f"service:Action{number}" for number in range(400)]
    entry = {"Sid": "Big", "Effect": "Allow", "Action": actions, "Resource": "*"}
    before = pack([source("a", entry)], "a")
    after = pack([source("a", {**entry, "Action": ["service:First", *actions]})], "a")
    assert list(before) == list(after) == ["a", "a-2"]
    assert sum(before[name] != after[name] for name in before) == 1


def test_a_sid_that_stands_in_several_documents_gets_a_number() -> None:
    one, two, three = ({**ALLOW, "Sid": "Logs"}, {**ALLOW, "Sid": "Logs2"}, {**ALLOW, "Sid": "Logs"})
    packs = pack([source("a", one, two), source("b", three)], "combined")
    assert [entry["Sid"] for entry in entries(packs)] == ["Logs", "Logs2", "Logs3"]
    twice = pack([source("a", one, one)], "a")
    assert [entry["Sid"] for entry in entries(twice)] == ["Logs", "Logs2"]


def test_a_sid_goes_when_there_is_no_room_for_its_number() -> None:
    packs = pack([source("a", large(ROOM, Sid="Logs")), source("b", large(ROOM, Sid="Logs"))], "combined")
    assert sorted(entry.get("Sid", "") for entry in entries(packs)) == ["", "Logs"]


def test_what_does_not_fit_at_all_says_how_much_is_too_much() -> None:
    sources = [source(name, *(large(3000, Sid=f"S{n}") for n in range(12))) for name in "ab"]
    with pytest.raises(PolicyError) as caught:
        pack(sources, "combined", most=9, where="environments/prod.yaml: policies")
    error = caught.value
    excess = 24 * 3001 - 9 * (ROOM + 1)
    size = sources[0].size
    assert error.what == (
        f"the chosen policies are {excess:,} characters too large: a with {size:,}, b with {size:,} characters"
    )
    assert error.where == "environments/prod.yaml: policies"
    assert error.expected is not None
    assert error.expected.startswith(
        "what fits into 9 managed policies of 6,144 characters: IAM attaches 10 to a group"
    )
    assert "1 of them existing" in error.expected


def test_what_does_not_fit_since_statements_stay_whole_says_how_many_it_takes() -> None:
    halves = [large(3100, Sid=f"S{n}") for n in range(11)]
    with pytest.raises(PolicyError, match="need 11 managed policies: a with"):
        pack([source("a", *halves)], "a")


def test_no_policy_is_no_pack() -> None:
    assert pack([], "a") == {}


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("shop", 1, "shop"),
        ("shop", 2, "shop-2"),
        ("shop", 10, "shop-10"),
        ("x" * 64, 2, "x" * 62 + "-2"),
        ("x" * 61 + "-yz", 2, "x" * 61 + "-2"),
    ],
)
def test_packs_are_numbered(name: str, number: int, expected: str) -> None:
    assert pack_name(name, number) == expected


# What an edit changes


def edited(statements: Sequence[dict[str, Any]], index: int, **change: Any) -> list[dict[str, Any]]:
    return [{**one, **change} if number == index else one for number, one in enumerate(statements)]


def changed(before: Packs, after: Packs) -> int:
    return sum(before.get(name) != after.get(name) for name in {*before, *after})


def pipeline_of(chance: random.Random, size: int) -> list[dict[str, Any]]:
    """Return statements as people write them, of so many characters together."""
    statements: list[dict[str, Any]] = []
    while sum(map(documents.size, map(documents.canonical, statements))) < size:
        actions = [f"service{chance.randrange(9)}:Action{chance.randrange(99)}" for _ in range(chance.randint(1, 30))]
        effect = "Deny" if chance.random() < 0.2 else "Allow"
        sid = {"Sid": f"S{len(statements)}"} if chance.random() < 0.7 else {}
        resource = f"arn:aws:s3:::shop-{len(statements)}*"
        statements.append({**sid, "Effect": effect, "Action": actions, "Resource": resource})
    return statements


@pytest.mark.parametrize("seed", range(10))
def test_with_room_to_spare_an_edit_changes_the_pack_of_its_statement_only(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    statements = pipeline_of(chance, 8_000)
    before = pack([source("shop", *statements)], "shop")
    assert len(before) == 2
    for index, entry in enumerate(statements):
        for actions in ([*entry["Action"], "a:New"], [entry["Action"][0], "a:Other"]):
            after = pack([source("shop", *edited(statements, index, Action=actions))], "shop")
            assert changed(before, after) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_statement_that_comes_or_goes_moves_no_other(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    statements = pipeline_of(chance, 8_000)
    before = pack([source("shop", *statements)], "shop")
    for index in range(len(statements)):
        fewer = pack([source("shop", *statements[:index], *statements[index + 1 :])], "shop")
        assert changed(before, fewer) == 1
    more = pack([source("shop", {**ALLOW, "Action": "a:First"}, *statements)], "shop")
    assert changed(before, more) == 1


def test_an_edit_changes_few_packs_even_when_they_are_full() -> None:
    """Over many policies that fill 2 to 9 packs to any degree; the seed is fixed."""
    chance = random.Random(7)  # noqa: S311
    counted: Counter[int] = Counter()
    for _ in range(60):
        statements = pipeline_of(chance, chance.randrange(6_500, 50_000))
        before = pack([source("shop", *statements)], "shop")
        for index in chance.sample(range(len(statements)), 4):
            actions = [*statements[index]["Action"], "service:AnotherAction"]
            after = pack([source("shop", *edited(statements, index, Action=actions))], "shop")
            if len(before) == len(after):
                counted[changed(before, after)] += 1
    assert counted[1] >= 0.8 * counted.total()
    assert sum(number * times for number, times in counted.items()) <= 1.5 * counted.total()


def test_denies_do_not_move_when_a_second_pack_is_needed() -> None:
    denies = [{"Effect": "Deny", "Action": f"a:B{n}", "Resource": "*"} for n in range(5)]
    allows = [large(900, Sid=f"S{n}") for n in range(30)]
    for count in range(len(allows)):
        packs = pack([source("shop", *denies, *allows[:count])], "shop")
        first = json.loads(packs["shop"])["Statement"]
        assert [entry for entry in first if entry["Effect"] == "Deny"] == denies
