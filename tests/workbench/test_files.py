"""Directories to layers."""

import pytest

from sidecar.errors import ConfigError
from sidecar.workbench.files import fingerprint, read_layers


def write(directory, **files):
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


def refused(*directories):
    with pytest.raises(ConfigError) as caught:
        read_layers([str(directory) for directory in directories])
    return caught.value.diagnostics


def test_yaml_files_are_read_in_the_order_of_their_names(tmp_path):
    write(tmp_path, b_yaml="2", a_yml="1", c_txt="3", _hidden_yaml="4")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.yaml").write_text("5")
    (layer,) = read_layers([f"{tmp_path}/"])
    assert layer.name == str(tmp_path)
    assert layer.files == (("a.yml", b"1"), ("b.yaml", b"2"))


def test_layers_keep_the_order_given(tmp_path):
    base, team = write(tmp_path / "z", a_yaml="1"), write(tmp_path / "a", a_yaml="2")
    assert [layer.files[0][1] for layer in read_layers([str(base), str(team)])] == [b"1", b"2"]


def test_a_mounted_config_map_is_read_through_its_links(tmp_path):
    version = write(tmp_path / "..2026_01", policy_yaml="1")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    assert read_layers([str(tmp_path)])[0].files == (("policy.yaml", b"1"),)


def test_a_layer_may_be_a_link_itself(tmp_path):
    real = write(tmp_path / "real", a_yaml="1")
    (tmp_path / "link").symlink_to(real)
    assert read_layers([str(tmp_path / "link")])[0].files == (("a.yaml", b"1"),)


def test_a_link_that_leads_out_is_an_error(tmp_path):
    outside = write(tmp_path / "outside", secret_yaml="1")
    layer = write(tmp_path / "layer", a_yaml="1")
    (layer / "b.yaml").symlink_to(outside / "secret.yaml")
    (only,) = refused(layer)
    assert only.position.file.endswith("layer/b.yaml")
    assert "leads out" in only.message


def test_everything_that_cannot_be_read_is_told(tmp_path):
    layer = write(tmp_path / "layer", a_yaml="1")
    (layer / "gone.yaml").symlink_to("nowhere.yaml")
    (layer / "dir.yaml").mkdir()
    problems = refused(layer, tmp_path / "missing", layer / "a.yaml", layer)
    assert [item.position.file.rpartition("/")[2] for item in problems] == ["dir.yaml", "gone.yaml", "missing", "a.yaml", "layer"]


def test_the_fingerprint_changes_with_every_change(tmp_path):
    layer = write(tmp_path / "layer", a_yaml="1")
    first = fingerprint([str(layer)])
    assert fingerprint([str(layer)]) == first
    write(layer, b_yaml="2")
    second = fingerprint([str(layer)])
    (layer / "a.yaml").write_text("22")
    third = fingerprint([str(layer)])
    (layer / "b.yaml").rename(layer / "c.yaml")
    fourth = fingerprint([str(layer)])
    assert len({first, second, third, fourth}) == 4
    assert fingerprint([str(tmp_path / "missing")]) == ((str(tmp_path / "missing"), 0, 0, 0),)
