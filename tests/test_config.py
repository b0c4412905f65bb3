"""The configuration: checked at construction, frozen, and silent about secrets."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from rtmedia.capture.settings import config_of, settings_of
from rtmedia.config import SCOPES, Config, Credentials, Jitter
from rtmedia.dsp.gain import Gain
from rtmedia.errors import ConfigError

SECRET = "s3cr3t-sentinel-7f1c"


def test_the_defaults_are_valid():
    config = Config()
    assert config.source == "loopback:"
    assert config.jitter.limit_ms == 1_000.0
    assert Jitter(profile="listening").limit_ms == 4_000.0
    assert Jitter(max_delay_ms=300).limit_ms == 300
    assert config.jitter.drift == "splice"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("source", "http://example.com"),
        ("source", "nonsense"),
        ("token_in", "cookie"),
        ("header", "loose"),
        ("rate_hz", 11_025),
        ("channels", 3),
        ("device_rate_hz", 1),
        ("reconnect", -1),
        ("reconnect", "never"),
        ("handshake_timeout_s", 0),
        ("ping_interval_s", math.nan),
        ("lead_ms", 0),
        ("lead_ms", "20"),
        ("lead_ms", math.nan),
        ("profile", "party"),
        ("profile", None),
        ("gain_db", 1_000),
        ("gain_db", True),
        ("ceiling_db", 1),
        ("hold_limit_s", 0),
        ("metrics_interval_s", -1),
        ("block_ms", 20),
        ("on_pause", "stop"),
        ("effects", ("gate",)),
    ],
)
def test_an_impossible_value_is_refused_by_its_name(setting, value):
    with pytest.raises(ConfigError, match=setting):
        Config(**{setting: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "party"},
        {"transport": "sctp"},
        {"price_ms": 1},
        {"min_delay_ms": -1},
        {"max_delay_ms": 10},
        {"start_delay_ms": 9_999},
        {"drift": "hope"},
    ],
)
def test_impossible_jitter_settings_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        Jitter(**changes)


def test_the_largest_delay_is_not_below_the_least():
    with pytest.raises(ConfigError, match="max_delay_ms"):
        Jitter(min_delay_ms=500, max_delay_ms=400)


def test_a_config_is_frozen_and_copied_with_changes():
    config = Config(effects=[Gain(3.0)])
    assert config.effects == (Gain(3.0),)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.gain_db = 3.0
    louder = config.with_(gain_db=3.0)
    assert (config.gain_db, louder.gain_db) == (0.0, 3.0)
    with pytest.raises(ConfigError, match="gain_db"):
        config.with_(gain_db=99.0)
    with pytest.raises(ConfigError, match="unknown setting"):
        config.with_(volume=3)


@pytest.mark.parametrize("source", [f"https://user:{SECRET}@host/?t={SECRET}", f"//[{SECRET}", f"http://[{SECRET}"])
def test_no_message_shows_what_a_url_may_hide(source):
    with pytest.raises(ConfigError) as caught:
        Config(source=source)
    assert SECRET not in str(caught.value)


def test_no_repr_shows_a_secret():
    credentials = Credentials("id", SECRET, environment="example")
    config = Config(source=f"wss://user:{SECRET}@host/path?access_token={SECRET}", credentials=credentials)
    assert SECRET not in repr(credentials)
    assert SECRET not in repr(config)
    assert "wss://host/path" in repr(config)
    assert "loopback:?loss=0.02" in repr(Config(source="loopback:?loss=0.02"))


def test_credentials_know_where_tokens_are():
    assert Credentials("id", "secret", environment="example").url == "https://example.mygenesys.cloud/oauth/token"
    assert Credentials("id", "secret", environment="example", token_url="https://x/t").url == "https://x/t"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"environment": ""}, "environment"),
        ({"authentication": "digest"}, "authentication"),
    ],
)
def test_incomplete_credentials_are_refused(changes, named):
    values = {"client_id": "id", "client_secret": SECRET, "environment": "example"} | changes
    with pytest.raises(ConfigError, match=named) as caught:
        Credentials(**values)
    assert SECRET not in str(caught.value)


def test_credentials_from_the_environment():
    assert Credentials.from_environment({}) is None
    environ = {"RTMEDIA_CLIENT_ID": "id", "RTMEDIA_CLIENT_SECRET": SECRET, "RTMEDIA_TOKEN_URL": "https://x/t"}
    assert Credentials.from_environment(environ).url == "https://x/t"
    with pytest.raises(ConfigError, match="RTMEDIA_CLIENT_SECRET"):
        Credentials.from_environment({"RTMEDIA_CLIENT_ID": "id"})


@pytest.mark.parametrize("scopes", ["a:b c:d", ["a:b", "c:d"]])
def test_credentials_from_a_file(tmp_path, scopes):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"client_id": "id", "client_secret": SECRET, "environment": "e", "scopes": scopes}))
    assert Credentials.from_file(path).scopes == ("a:b", "c:d")
    path.write_text(json.dumps({"client_id": "id", "client_secret": SECRET, "environment": "e"}))
    assert Credentials.from_file(path).scopes == SCOPES


@pytest.mark.parametrize("text", [f'{{"client_id": "{SECRET}', f'["{SECRET}"]', f'{{"secret": "{SECRET}"}}', "\ud800", ""])
def test_a_broken_file_is_named_and_not_quoted(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError) as caught:
        Credentials.from_file(path)
    assert "c.json" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="check the path"):
        Credentials.from_file(tmp_path / "none.json")


def test_a_profile_says_what_nobody_gave():
    low, usual = Config(profile="kiosk-low"), Config()
    assert (low.lead_ms, low.jitter.min_delay_ms, low.jitter.start_delay_ms) == (10.0, 5.0, 5.0)
    assert (low.jitter.price_ms, usual.jitter.price_ms) == (3_000.0, 10_000.0)
    assert (usual.lead_ms, usual.jitter.min_delay_ms, usual.jitter.start_delay_ms) == (20.0, 10.0, 20.0)
    assert usual == Config(profile="default", lead_ms=20.0, jitter=Jitter(min_delay_ms=10.0, start_delay_ms=20.0))


def test_what_is_given_wins_over_the_profile_one_by_one():
    config = Config(profile="kiosk-low", lead_ms=20.0, jitter=Jitter(min_delay_ms=12.5, price_ms=4_000))
    assert config.lead_ms == 20.0
    assert (config.jitter.min_delay_ms, config.jitter.start_delay_ms, config.jitter.price_ms) == (12.5, 5.0, 4_000)


def test_a_copy_of_another_profile_takes_over_what_was_given_and_nothing_else():
    config = Config(jitter=Jitter(min_delay_ms=12.5)).with_(gain_db=3.0)
    low = config.with_(profile="kiosk-low")
    assert (low.lead_ms, low.jitter.min_delay_ms, low.jitter.start_delay_ms, low.gain_db) == (10.0, 12.5, 5.0, 3.0)
    assert low.with_(profile="default") == config


def test_the_numbers_of_a_profile_are_read_back_from_a_capture():
    low = Config(profile="kiosk-low", effects=())
    again = config_of(settings_of(low, 16_000))
    assert (again.lead_ms, again.jitter) == (low.lead_ms, low.jitter)
