"""What is kept of a refused message."""

import pytest

from ingest.door.samples import SAMPLE_BYTES, name_in, reason_words, sample_cut, sample_make


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ('{"token": "abc", "a": 1}', '{"token": …, "a": 1}'),
        ('{"api_key":"a\\"b","Password" : "x"}', '{"api_key":…,"Password" : …}'),
        ('{"authorization": "Bearer abc.def"}', '{"authorization": …}'),
        ('{"secret": {"a": "b"}, "c": 1}', '{"secret": …, "c": 1}'),
        ('{"secret": 12345}', '{"secret": …}'),
        ('{"wifi.secret": "cut off he', '{"wifi.secret": …'),
        ("user=kim&password=abc&x=1", "user=kim&password=…&x=1"),
        ("Authorization: Basic YWJj", "Authorization: Basic …"),
        ('{"note": "rc_abcdefghij_ABCdef012"}', '{"note": "rc_abcdefghij_…"}'),
        ("{'client_secret': 'abc'}", "{'client_secret': …}"),
        ('{"a": "{\\"token\\": \\"abc\\"}"}', '{"a": "{\\"token\\": …}'),
        ('{"battery_pct": 255}', '{"battery_pct": 255}'),
    ],
)
def test_a_sample_hides_secrets(message: str, shown: str) -> None:
    assert sample_cut(message.encode()) == shown


def test_a_sample_is_short_and_ends_within_a_character() -> None:
    text = sample_cut(("ß" * 1000).encode())

    assert len(text.encode()) <= SAMPLE_BYTES
    assert text.startswith("ß" * 200) and text.endswith("ß…")


def test_a_secret_at_the_end_of_what_is_looked_at_is_hidden() -> None:
    padding = "x" * (SAMPLE_BYTES - 30)
    assert "hush" not in sample_cut(f'{{"a": "{padding}", "token": "{"hush" * 900}"}}'.encode())


def test_a_sample_of_something_else_than_text_says_so() -> None:
    assert sample_cut(bytes(range(128, 256))).startswith("128 bytes that are not text: 80 81 82")


def test_a_sample_can_be_stored() -> None:
    assert "\x00" not in sample_cut(b'{"a": "\x00"}')
    assert sample_cut(b'{"a": "\xff"}') == '{"a": "\ufffd"}'
    words = reason_words("$.\ud800\x00", "half a pair")
    assert words.encode().decode() == words and "\x00" not in words


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("$", "wrong"),
        ("$.battery_pct", "`battery_pct` 255: wrong"),
        ("$.metrics.temp_c", '`metrics.temp_c` "hot": wrong'),
        ("$.metrics.a.b", "`metrics.a.b` true: wrong"),
        ("$.metrics", "`metrics`: wrong"),
        ("$.missing", "`missing`: wrong"),
        ("$.token", "`token`: wrong"),
        ("$.long", '`long` "' + 38 * "y" + "…: wrong"),
    ],
)
def test_a_reason_names_the_value(field: str, words: str) -> None:
    message = b'{"battery_pct": 255, "token": "abc", "long": "%s", "metrics": %s}' % (
        b"y" * 60,
        b'{"temp_c": "hot", "a.b": true}',
    )
    assert sample_make(message, field=field, reason="wrong").reason == words


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b'{"device_id": "a"}', "a"),
        (b'{"node_id": "n", "x": [1]}', "n"),
        (b'{"device_id": 7}', "7"),
        (b'{"device_id": "a", "x": NaN}', "a"),
        (b'{"device_id": true}', None),
        (b'{"device_id": "a"', None),
        (b'[{"device_id": "a"}]', None),
        (b"\xff", None),
    ],
)
def test_a_device_is_found_by_its_name(message: bytes, name: str | None) -> None:
    assert name_in(message) == name
