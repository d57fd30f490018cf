import pytest

from sidecar.errors import ConfigError
from sidecar.route import urls


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.openai.com/v1", ("https", "api.openai.com", 443, "/v1")),
        ("https://api.openai.com/v1/", ("https", "api.openai.com", 443, "/v1")),
        ("http://127.0.0.1:8080", ("http", "127.0.0.1", 8080, "")),
        ("http://[::1]:8080/x/y", ("http", "::1", 8080, "/x/y")),
        ("https://API.Example.com./v1", ("https", "api.example.com", 443, "/v1")),
    ],
)
def test_a_base_url_is_taken_apart(url, base):
    assert urls.read(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://x/",
        "https:///v1",
        "https://user:pw@x/v1",
        "https://x/v1?key=1",
        "https://x/v1#a",
        "https://x:99999/",
        "https://x y/",
        "https://exämple/",
        "https://x/\r\nhost: y",
    ],
)
def test_what_is_no_plain_base_url_is_a_configuration_error(url):
    with pytest.raises(ConfigError):
        urls.read(url)
