"""What is kept of a refused message."""

import json
from collections.abc import Callable
from time import process_time

import pytest

from ingest.door.samples import SAMPLE_BYTES, field_name, name_in, reason_words, sample_make

SECRET = "k3Y0fTh3D00rAbCdEfGhIjKlMnOpQrSt"
KEY = f"rc_abcdefghij_{SECRET}"


def sample_of(message: bytes | str) -> str:
    body = message.encode() if isinstance(message, str) else message
    return sample_make(body, field="$", reason="wrong").text


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ('{"battery_pct": 255}', '{"battery_pct": 255}'),
        ('{"battery_pct": nan, "rssi_dbm": "n/a",}', '{"battery_pct": nan, "rssi_dbm": "n/a"}'),
        (
            '{"uptime_s": 01, "a": [true, null, 1e999]}',
            '{"uptime_s": 01, "a": [true, null, 1e999]}',
        ),
        ('{"device_id": "porch", "note": "hello"}', '{"device_id": "porch", "note": "…(5)"}'),
        ('[{"site": "north"}, {"a": "13.5"}]', '[{"site": "north"}, {"a": "13.5"}]'),
        (
            '{"node_id": "e33e47e7", "x": {"node_id": "a"}}',
            '{"node_id": "e33e47e7", "x": {"node_id": "…(1)"}}',
        ),
        ('{"device_id": "%s"}' % ("a1" * 16), '{"device_id": "%s"}' % ("a1" * 16)),
        ('{"a": {"b": {"c": {"d": {"e": 1}}}}}', '{"a": {"b": {"c": {"d": "…"}}}}'),
        ("", ""),
        ("{", "1 byte, not shown: not JSON"),
    ],
)
def test_a_sample_shows_structure_and_numbers(message: str, shown: str) -> None:
    assert sample_of(message) == shown


# With the secret as text, as a name, as what is no value, and in bodies that are no JSON.
@pytest.mark.parametrize(
    "message",
    [
        '{"rc_abcdefghij_%s": 1, "metrics": {"a": 1}}',
        '{"rt_abcdefghij_%s": 1}',
        '{"\\u0072c_abcdefghij_%s": 1}',
        '{"x%s": 1}',
        '{"metrics": {"rc_abcdefghij_%s": [1]}}',
        '{"device_id": "rc_abcdefghij_%s"}',
        '{"time": "https://u:%s@h/"}',
        '{"site": "token=ab %s"}',
        '{"version": "%s"}',
        '{"pass": "%s"}',
        '{"wifi_psk": "%s"}',
        '{"url": "https://u:%s@h/"}',
        '{"token": {"a": [1], "v": "%s"}, "b": "%s"}',
        '{"\\u0074oken": "%s"}',
        '{"name": "api_key", "value": "%s"}',
        '{"a": "{\\"b\\": \\"{\\\\\\"pin\\\\\\": \\\\\\"%s\\\\\\"}\\"}"}',
        '{"a": %s}',
        '{"password": %s}',
        "<password>%s</password>",
        "password%3D%s",
        "token=ab %s",
        "{'secret': 'it\\'s %s'}",
        "Cookie: sessionid=%s",
        '{"token": "%s',
        '{"battery_pct": "%s"}',
        '["%s"]',
        '"%s"',
        "%s",
        f'{{"a": "%s", "pad": "{"x" * 70_000}"}}',
    ],
)
@pytest.mark.parametrize(
    "field",
    ["$", "$.a", "$.battery_pct", "$.version", "$.pass", "$.url", f"$.{KEY}", f"$.x{SECRET}"],
)
def test_no_secret_is_kept(message: str, field: str) -> None:
    for reason in ("wrong", f"{SECRET} is not a JSON value", f"expected a number, got “{SECRET}”"):
        kept = sample_make(message.replace("%s", SECRET).encode(), field=field, reason=reason)
        assert SECRET not in f"{kept.reason} {kept.text} {field_name(field)}"


@pytest.mark.parametrize("name", ["pin", "userPin", "apiKey", "wifi_psk", "otp", "auth", "jwt"])
def test_a_number_with_the_name_of_a_secret_is_hidden(name: str) -> None:
    body = '{"%s": 4711, "in": {"%s": {"a": 4711}}, "id": {"name": "%s", "value": 4711}}'
    message = (body % (name, name, name)).encode()
    words = sample_make(message, field=f"$.{name}", reason="the number 4711 is too large")
    assert "4711" not in f"{words}"
    assert "4711" in sample_of(message.replace(name.encode(), b"ping"))


@pytest.mark.parametrize(
    "reason",
    [
        "hunter2 is not a JSON value",
        "infinite-hunter2 cannot be stored; send a number, or leave the field out",
        "expected a number from 0 to 100, got “https://u:hunter2@h/”",
        "expected a number, got “a”, “hunter2@”",
    ],
)
def test_a_reason_shows_no_text_that_a_sample_would_not(reason: str) -> None:
    assert "hunter2" not in reason_words("$.note", reason)
    plain = "nan cannot be stored; send a number, or leave the field out"
    assert reason_words("$.a", plain) == f"`a`: {plain}"


def test_a_sample_is_short_and_ends_between_values() -> None:
    text = sample_of(json.dumps({f"field{n}": "ß" * n for n in range(99)}))

    assert SAMPLE_BYTES - 40 < len(text.encode()) <= SAMPLE_BYTES
    assert text.endswith("…") and '"field9": "…(9)"' in text


def test_a_sample_can_be_stored() -> None:
    for message in (b'{"a": "\x00"}', b'{"\xff\\u0000\\ud800": "\xff"}', b"\xff\x00"):
        text = sample_of(message)
        assert "\x00" not in text and text.encode().decode() == text
    words = reason_words("$.\ud800\x00", "half a pair")
    assert words.encode().decode() == words and "\x00" not in words


@pytest.mark.parametrize(
    "hostile",
    [
        lambda n: b'{"device_id": "a", ' + b", ".join(b'"f%d": "key"' % i for i in range(n)) + b"}",
        lambda n: b'{"a": "' + b"key" * n + b'"}',
        lambda n: b'{"' + b"key.rc_a" * n + b'": 1}',
        lambda n: b'{"time": "' + b"a_" * n + b'"}',
        lambda n: b"[" * n,
        lambda n: b"[" * 900 + b"1," * n,
        lambda n: b'{"a": ' + b"a" * n + b"}",
        lambda n: b'"' + b'\\"' * n,
        lambda n: b"," * n,
    ],
)
def test_a_sample_of_a_hostile_message_takes_linear_time(hostile: Callable[[int], bytes]) -> None:
    few, many = (min(_seconds(hostile(n)) for _ in range(3)) for n in (600, 2_400))
    assert many < 10 * few + 0.005
    assert _seconds(hostile(200_000)) < 1


def _seconds(message: bytes) -> float:
    began = process_time()
    field = "$." + "rc_a_key" * (len(message) // 8)
    sample_make(message, field=field, reason="got “" * (len(message) // 5))
    return process_time() - began


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("$", "wrong"),
        ("$.battery_pct", "`battery_pct` 255: wrong"),
        ("$.metrics.temp_c", '`metrics.temp_c` "…(3)": wrong'),
        ("$.metrics.a.b", "`metrics.a.b` true: wrong"),
        ("$.metrics", "`metrics`: wrong"),
        ("$.missing", "`missing`: wrong"),
        ("$.token", "`token`: wrong"),
        ("$.site", '`site` "north 4": wrong'),
        ("$.version", '`version` "…(60)": wrong'),
    ],
)
def test_a_reason_names_the_value(field: str, words: str) -> None:
    message = (
        b'{"battery_pct": 255, "token": 1, "site": "north 4", "version": "%s", "metrics": %s}'
        % (
            b"y" * 60,
            b'{"temp_c": "hot", "a.b": true}',
        )
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
