from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ci_user import provider_mirror
from ci_user.errors import ToolchainError
from ci_user.provider_mirror import cli_configuration, find_mirror, read_lock, users_configuration
from ci_user.provider_package import ADDRESS, package, package_hash
from ci_user.terraform_release import platform_name

LOCK = provider_mirror.Lock("5.100.0", frozenset({"h1:x"}))


@pytest.fixture(autouse=True)
def no_system_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(provider_mirror, "SYSTEM_MIRRORS", tmp_path / "opt")
    return tmp_path / "opt"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    module = tmp_path / "terraform"
    module.mkdir()
    return module


def fill(mirror: Path, version: str = "5.100.0", platform: str | None = None) -> Path:
    place = mirror / ADDRESS / version / (platform or platform_name())
    place.mkdir(parents=True)
    (place / f"terraform-provider-aws_v{version}_x5").write_bytes(b"provider")
    return mirror


def test_the_committed_lock_is_read(root: Path) -> None:
    lock = read_lock(root / "terraform")
    assert lock.version == "5.100.0"
    assert len([one for one in lock.hashes if one.startswith("h1:")]) == 4
    assert len([one for one in lock.hashes if one.startswith("zh:")]) == 15


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff\xfe",
        b'provider "registry.terraform.io/hashicorp/random" {\n  version = "1"\n  hashes = ["h1:x"]\n}\n',
        f'provider "{ADDRESS}" {{\n  version = "5.100.0"\n}}\n'.encode(),
        f'provider "{ADDRESS}" {{\n  hashes = ["h1:x"]\n}}\n'.encode(),
    ],
)
def test_lock_without_the_provider_is_a_clear_error(module: Path, content: bytes | None) -> None:
    if content is not None:
        (module / ".terraform.lock.hcl").write_bytes(content)
    with pytest.raises(ToolchainError, match="does not name") as refused:
        read_lock(module)
    assert refused.value.where == str(module / ".terraform.lock.hcl")
    assert "git checkout" in str(refused.value.do)


def test_without_any_mirror_the_registry_it_is(tmp_path: Path, module: Path) -> None:
    assert find_mirror(module, LOCK, {"HOME": str(tmp_path)}, allow_system_mirror=True) is None


def test_named_mirror_wins_over_all_others(tmp_path: Path, module: Path, no_system_mirror: Path) -> None:
    fill(tmp_path / ".terraform.d/plugins")
    fill(no_system_mirror / "plugins")
    named = fill(tmp_path / "named here")
    environ = {"HOME": str(tmp_path), provider_mirror.VARIABLE: str(named)}
    found = find_mirror(module, LOCK, environ, allow_system_mirror=True)
    assert found
    assert (found.path, found.implied) == (named, False)


def test_named_mirror_that_is_none_is_a_clear_error(tmp_path: Path, module: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    fill(tmp_path / "relative")
    for named in (tmp_path / "missing", tmp_path / "empty", tmp_path / "file", Path("relative")):
        with pytest.raises(ToolchainError, match="names no provider mirror") as refused:
            find_mirror(module, LOCK, {provider_mirror.VARIABLE: str(named)}, allow_system_mirror=True)
        assert refused.value.where == str(named)
        assert "absolute path" in str(refused.value.expected)


@pytest.mark.parametrize(("version", "platform"), [("5.99.0", None), ("5.100.0", "plan9_mips")])
def test_named_mirror_without_the_locked_version_is_a_clear_error(
    tmp_path: Path, module: Path, version: str, platform: str | None
) -> None:
    mirror = fill(tmp_path / "mirror", version, platform)
    with pytest.raises(ToolchainError, match=r"does not hold .* 5\.100\.0") as refused:
        find_mirror(module, LOCK, {provider_mirror.VARIABLE: str(mirror)}, allow_system_mirror=True)
    assert platform_name() in str(refused.value)


@pytest.mark.parametrize(
    "place", [".terraform.d/plugins", ".local/share/terraform/plugins", "terraform/terraform.d/plugins"]
)
def test_implied_directories_are_left_to_terraform(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    fill(tmp_path / place)
    found = find_mirror(module, LOCK, {"HOME": str(tmp_path)}, allow_system_mirror=True)
    assert found
    assert (found.path, found.implied) == (tmp_path / place, True)


def test_macos_has_implied_directories_of_its_own(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    fill(tmp_path / ".local/share/terraform/plugins")
    assert find_mirror(module, LOCK, {"HOME": str(tmp_path)}, allow_system_mirror=False) is None
    place = fill(tmp_path / "Library/Application Support/io.terraform/plugins")
    found = find_mirror(module, LOCK, {"HOME": str(tmp_path)}, allow_system_mirror=False)
    assert found
    assert (found.path, found.implied) == (place, True)


@pytest.mark.parametrize("variable", ["XDG_DATA_HOME", "XDG_DATA_DIRS"])
def test_directories_of_variables_that_terraform_will_not_get_are_handed_over(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    place = fill(tmp_path / "data/terraform/plugins")
    environ = {"HOME": str(tmp_path), variable: str(tmp_path / "data")}
    found = find_mirror(module, LOCK, environ, allow_system_mirror=False)
    assert found
    assert (found.path, found.implied) == (place, False)


def test_implied_directory_that_hides_the_registry_is_a_clear_error(tmp_path: Path, module: Path) -> None:
    fill(tmp_path / ".terraform.d/plugins", "5.99.0")
    with pytest.raises(ToolchainError, match="it hides the registry"):
        find_mirror(module, LOCK, {"HOME": str(tmp_path)}, allow_system_mirror=True)


def test_system_mirror_is_for_the_sandbox_only(tmp_path: Path, module: Path, no_system_mirror: Path) -> None:
    fill(no_system_mirror / "a", "5.99.0")
    place = fill(no_system_mirror / "b")
    environ = {"HOME": str(tmp_path)}
    assert find_mirror(module, LOCK, environ, allow_system_mirror=False) is None
    found = find_mirror(module, LOCK, environ, allow_system_mirror=True)
    assert found
    assert (found.path, found.sandbox_only, found.implied) == (place, True, False)


def test_packed_mirrors_are_known_too(tmp_path: Path) -> None:
    place = tmp_path / ADDRESS
    place.mkdir(parents=True)
    assert package(tmp_path, "5.100.0") is None
    archive = place / f"terraform-provider-aws_5.100.0_{platform_name()}.zip"
    archive.write_bytes(b"packed")
    assert package(tmp_path, "5.100.0") == archive
    assert package_hash(archive, tmp_path / "cache") == f"zh:{hashlib.sha256(b'packed').hexdigest()}"


def test_hash_of_an_unpacked_package_is_that_of_its_list_of_hashes(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "xyz").write_text("data for xyz")
    (tmp_path / "package" / "abc").write_text("data for abc")
    # `sha256sum abc xyz | sha256sum`, in base64.
    assert package_hash(tmp_path / "package", tmp_path / "cache") == "h1:EP6WfDoQTSk9klnxcjriWJOGztueJUywHNmWeq+efB8="


def test_changed_package_is_hashed_again(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    binary = tmp_path / "package" / "terraform-provider-aws"
    binary.write_bytes(b"one")
    first = package_hash(tmp_path / "package", tmp_path / "cache")
    assert package_hash(tmp_path / "package", tmp_path / "cache") == first
    binary.write_bytes(b"another")
    assert package_hash(tmp_path / "package", tmp_path / "cache") != first


def test_configuration_takes_the_provider_from_the_mirror_alone() -> None:
    assert cli_configuration(Path('/a "b"\\c')) == (
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        '    path    = "/a \\"b\\"\\\\c"\n'
        '    include = ["registry.terraform.io/hashicorp/aws"]\n'
        "  }\n"
        "  direct {\n"
        '    exclude = ["registry.terraform.io/hashicorp/aws"]\n'
        "  }\n"
        "}\n"
    )


@pytest.mark.parametrize("path", ["/a\nb", "/a${b}", "/a%{b}", "/a\x1bb"])
def test_path_that_means_something_to_terraform_is_refused(path: str) -> None:
    with pytest.raises(ToolchainError, match="have a meaning"):
        cli_configuration(Path(path))


def test_no_configuration_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / ".terraform.d").mkdir()
    (tmp_path / ".terraform.d" / "credentials.tfrc.json").write_text("{}")
    assert users_configuration({}) is None
    assert users_configuration({"HOME": str(tmp_path)}) is None
    # Named, but not there: as good as none.
    environ = {"HOME": str(tmp_path), "TF_CLI_CONFIG_FILE": str(tmp_path / "missing.tfrc")}
    assert users_configuration(environ) is None


def test_named_configuration_is_the_only_one_that_counts(tmp_path: Path) -> None:
    (tmp_path / ".terraformrc").write_text("")
    named = tmp_path / "named.tfrc"
    named.write_text("")
    found = users_configuration({"HOME": str(tmp_path), "TF_CLI_CONFIG_FILE": str(named)})
    assert found
    assert (found.files, found.named, found.dev_overrides) == ((named,), named, False)


@pytest.mark.parametrize("place", [".terraformrc", ".terraform.d/mine.tfrc", ".terraform.d/mine.tfrc.json"])
def test_configuration_in_the_home_directory_is_left_to_terraform(tmp_path: Path, place: str) -> None:
    (tmp_path / ".terraform.d").mkdir()
    (tmp_path / place).write_text("")
    found = users_configuration({"HOME": str(tmp_path)})
    assert found
    assert (found.files, found.named) == ((tmp_path / place,), None)


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ('provider_installation {\n  dev_overrides {\n    "hashicorp/aws" = "/x"\n  }\n}\n', True),
        ("provider_installation { dev_overrides = {} }", True),
        ('{"provider_installation": [{"dev_overrides": {"hashicorp/aws": "/x"}}]}', True),
        ('host "https://x//y" {} dev_overrides {}', True),
        ("# it's \"odd\ndev_overrides {}", True),
        ("# dev_overrides {}\n", False),
        ("// dev_overrides {}\n", False),
        ("/* dev_overrides {}\n */ disable_checkpoint = true\n", False),
        ("", False),
    ],
)
def test_dev_overrides_are_seen_unless_commented_out(tmp_path: Path, text: str, there: bool) -> None:
    (tmp_path / ".terraformrc").write_text(text)
    found = users_configuration({"HOME": str(tmp_path)})
    assert found
    assert found.dev_overrides is there


def test_configuration_that_cannot_be_read_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".terraformrc").touch()

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ToolchainError, match="cannot be read: Permission denied"):
        users_configuration({"HOME": str(tmp_path)})
