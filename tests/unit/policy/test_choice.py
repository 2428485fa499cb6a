"""What an environment chooses: shipped policies, own files and directories, existing ones; read, rendered, packed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci_user.environment_policies import Chosen, ExistingPolicy, PolicyDirectory, PolicyFile
from ci_user.errors import PolicyError
from ci_user.policy import documents
from ci_user.policy.choice import Choice, choose

ROOT = Path(__file__).resolve().parents[3]
ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def environment(*policies: Chosen, **changes: Any) -> SimpleNamespace:
    values = {
        "name": "prod",
        "application": "shop",
        "account_id": "123456789012",
        "partition": "aws",
        "region": "eu-west-1",
        "prefix": "shop-prod",
        "policies": policies or ("sample",),
    }
    return SimpleNamespace(**values | changes)


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements or (ALLOW,))}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "terraform" / "policies").mkdir(parents=True)
    (root / "environments").mkdir()
    for name in ("sample", "other"):
        write(root, f"terraform/policies/{name}.json", document({**ALLOW, "Sid": name.title()}))
    text = "version: 1\npolicies:\n  - sample\n  - file: policies/extra.json\n  - directory: policies/shop\n"
    (root / "environments" / "prod.yaml").write_text(text)
    return root


def write(root: Path, path: str, content: object) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def sids(choice: Choice, name: str) -> list[str]:
    return [one["Sid"] for one in json.loads(choice.packs[name])["Statement"]]


def refused(repository: Path, *policies: Chosen, **changes: Any) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        choose(environment(*policies, **changes), repository)
    assert caught.value.expected
    assert caught.value.do
    return caught.value


def test_the_sample_is_deployed_as_the_recipe_has_it() -> None:
    choice = choose(environment(), ROOT)
    assert list(choice.packs) == ["sample"]
    assert choice.packs["sample"] == documents.canonical(documents.read_policy("sample", ROOT))
    assert choice.attached_arns == ()


def test_one_policy_is_called_as_it_is_and_several_are_combined(repository: Path) -> None:
    write(repository, "policies/extra.json", document({**ALLOW, "Sid": "Extra"}))
    own = PolicyFile(file="policies/extra.json")
    assert list(choose(environment("sample"), repository).packs) == ["sample"]
    assert list(choose(environment(own), repository).packs) == ["extra"]
    assert list(choose(environment(PolicyFile(file=own.file, name="mine")), repository).packs) == ["mine"]
    several = choose(environment("sample", own, "other"), repository)
    assert list(several.packs) == ["combined"]
    assert sids(several, "combined") == ["Extra", "Other", "Sample"]
    assert choose(environment(own, "other", "sample"), repository).packs == several.packs


def test_an_existing_policy_is_attached_and_does_not_count_as_a_document(repository: Path) -> None:
    extra = "arn:aws:iam::123456789012:policy/extra"
    choice = choose(environment(ExistingPolicy(arn=READ_ONLY), "sample", ExistingPolicy(arn=extra)), repository)
    assert list(choice.packs) == ["sample"]
    assert choice.attached_arns == (extra, READ_ONLY)
    alone = choose(environment(ExistingPolicy(arn=READ_ONLY)), repository)
    assert (alone.packs, alone.attached_arns) == ({}, (READ_ONLY,))


def test_all_files_of_a_directory_are_one_policy_in_the_order_of_their_names(repository: Path) -> None:
    for name in ("b", "a", "Any Name"):
        write(repository, f"policies/shop/{name}.json", document({**ALLOW, "Sid": name.replace(" ", "")}))
    write(repository, "policies/shop/README.md", "no policy")
    write(repository, "policies/shop/.hidden.json", "no policy")
    write(repository, "policies/shop/below/c.json", "no policy")
    choice = choose(environment(PolicyDirectory(directory="policies/shop")), repository)
    assert sids(choice, "shop") == ["AnyName", "a", "b"]
    assert [source.name for source in choice.sources] == ["shop/Any Name", "shop/a", "shop/b"]


@pytest.mark.parametrize("folder", ["policies", "environments/policies"])
def test_a_path_leads_from_the_repository_or_from_where_the_environments_lie(repository: Path, folder: str) -> None:
    write(repository, f"{folder}/extra.json", document({**ALLOW, "Sid": "Extra"}))
    write(repository, f"{folder}/shop/a.json", document({**ALLOW, "Sid": "A"}))
    own = (PolicyFile(file="policies/extra.json"), PolicyDirectory(directory="policies/shop"))
    assert sids(choose(environment(*own), repository), "combined") == ["Extra", "A"]


def test_a_path_that_is_in_both_places_is_refused(repository: Path) -> None:
    for folder in ("policies", "environments/policies"):
        write(repository, f"{folder}/extra.json", document())
    error = refused(repository, "sample", PolicyFile(file="policies/extra.json"))
    assert "both policies/extra.json and environments/policies/extra.json are there" in error.what


def test_parameters_of_an_own_document_are_filled_in(repository: Path) -> None:
    resource = "arn:${partition}:s3:::${prefix}-${application}-${environment}-${account_id}-${region}/${aws:username}"
    write(repository, "policies/extra.json", document({**ALLOW, "Resource": resource}))
    choice = choose(environment(PolicyFile(file="policies/extra.json")), repository)
    (statement,) = json.loads(choice.packs["extra"])["Statement"]
    assert statement["Resource"] == "arn:aws:s3:::shop-prod-shop-prod-123456789012-eu-west-1/${aws:username}"


@pytest.mark.parametrize(
    ("item", "line", "key", "what"),
    [
        ("nowhere", 3, "policies[0]", "there is no policy 'nowhere'"),
        ("guard/boundary", 3, "policies[0]", "there is no policy"),
        (PolicyFile(file="policies/nowhere.json"), 3, "policies[0].file", "there is no policies/nowhere.json"),
        (PolicyDirectory(directory="nowhere"), 3, "policies[0].directory", "there is no nowhere"),
        (PolicyFile(file="policies/folder.json"), 3, "policies[0].file", "is a directory"),
        (PolicyFile(file="policies/pipe.json"), 3, "policies[0].file", "is no regular file"),
        (PolicyDirectory(directory="policies/empty"), 3, "policies[0].directory", "holds no file NAME.json"),
        (PolicyDirectory(directory="policies/file"), 3, "policies[0].directory", "cannot be read: Not a directory"),
        (PolicyDirectory(directory="policies/many"), 3, "policies[0].directory", "holds 101 files"),
        (PolicyFile(file=f"{'x' * 300}.json", name="long"), 3, "policies[0].file", "cannot be"),
    ],
)
def test_what_cannot_be_found_is_told_with_line_and_key(
    repository: Path, item: Chosen, line: int, key: str, what: str
) -> None:
    (repository / "policies" / "folder.json").mkdir(parents=True)
    (repository / "policies" / "empty").mkdir()
    write(repository, "policies/file", "")
    os.mkfifo(repository / "policies" / "pipe.json")
    for number in range(101):
        write(repository, f"policies/many/{number}.json", "")
    error = refused(repository, item)
    assert what in error.what
    assert error.where == f"environments/prod.yaml:{line}: {key}"


def test_the_line_is_that_of_the_item(repository: Path) -> None:
    error = refused(repository, "sample", PolicyFile(file="policies/extra.json"))
    assert error.where == "environments/prod.yaml:4: policies[1].file"
    (repository / "environments" / "prod.yaml").unlink()
    assert refused(repository, "nowhere").where == "environments/prod.yaml: policies[0]"


@pytest.mark.parametrize("way", ["file", "directory", "in a directory", "next to the environment"])
def test_no_symlink_leads_out_of_the_repository(repository: Path, way: str) -> None:
    outside = write(repository.parent, "outside/extra.json", document())
    (repository / "policies").mkdir()
    item: Chosen = PolicyFile(file="policies/extra.json")
    if way == "file":
        (repository / "policies" / "extra.json").symlink_to(outside)
    elif way == "directory":
        (repository / "policies" / "shop").symlink_to(outside.parent)
        item = PolicyDirectory(directory="policies/shop")
    elif way == "in a directory":
        write(repository, "policies/shop/a.json", document())
        (repository / "policies" / "shop" / "b.json").symlink_to(outside)
        item = PolicyDirectory(directory="policies/shop")
    else:
        (repository / "environments" / "policies").symlink_to(outside.parent)
    assert "symlink" in str(refused(repository, item))


def test_a_symlink_inside_of_the_repository_is_followed(repository: Path) -> None:
    (repository / "policies").mkdir()
    (repository / "policies" / "extra.json").symlink_to("../terraform/policies/sample.json")
    choice = choose(environment(PolicyFile(file="policies/extra.json")), repository)
    assert sids(choice, "extra") == ["Sample"]


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ('{"Version": "2012-10-17",\n "Statement": [}', ":2:16", "no JSON"),
        (
            '{"Version": "2012-10-17", "Statement": [\n{"Effect": "Allow", "Action": "a:b",\n"Resource": "${bucket}"}]}',
            ":3: statement 1, '${bucket}'",
            "the parameter ${bucket} is unknown",
        ),
        (
            '{"Version": "2012-10-17", "Statement": [\n{"Sid": "x", "Effect": "Allow", "Action": "a:b",\n"Resource": "${"}]}',
            ":3: statement x, '${'",
            "a ${ that begins neither",
        ),
        (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:b",\n\n"Resource": "arn:aws-cn:s3:::x"}]}',
            ":3: its ARNs",
            "lies in the partition aws-cn",
        ),
        (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:b"}]}',
            "",
            "Resource or NotResource",
        ),
        ('{"Version": "2012-10-17", "statement": [], "Statement": [{}]}', "", "'statement' is no element"),
    ],
)
def test_a_wrong_document_is_told_with_file_and_line(repository: Path, text: str, position: str, what: str) -> None:
    path = write(repository, "policies/extra.json", text)
    error = refused(repository, PolicyFile(file="policies/extra.json"))
    assert what in error.what
    assert error.where == f"{path}{position}"


def test_a_shipped_policy_for_another_partition_is_refused() -> None:
    error = refused(ROOT, "sample", partition="aws-cn", region="cn-north-1")
    assert error.expected == "ARNs of the partition aws-cn"


def test_existing_policies_take_the_room_of_those_that_are_made(repository: Path) -> None:
    large = [{"Effect": "Deny", "NotAction": f"s3:{'x' * 6000}{number}", "Resource": "*"} for number in range(3)]
    write(repository, "policies/extra.json", document(*large))
    existing = [ExistingPolicy(arn=f"arn:aws:iam::123456789012:policy/p{number}") for number in range(8)]
    own = PolicyFile(file="policies/extra.json")
    assert list(choose(environment(own, *existing[:7]), repository).packs) == ["extra", "extra-2", "extra-3"]
    error = refused(repository, own, *existing)
    assert error.where == "environments/prod.yaml: policies"
    assert error.expected is not None
    assert "2 managed policies" in error.expected
    assert "8 of them existing ones" in error.expected


def test_the_terraform_tests_use_what_a_directory_renders_to(tmp_path: Path) -> None:
    tests = ROOT / "terraform" / "tests"
    shutil.copytree(tests / "own-policy", tmp_path / "own-policy")
    choice = choose(environment(PolicyDirectory(directory="own-policy")), tmp_path)
    assert choice.packs == json.loads((tests / "own-policy.rendered.json").read_text())


@pytest.mark.parametrize("name", documents.OPERATORS)
def test_a_policy_for_whoever_runs_the_tool_is_chosen_neither_by_name_nor_by_file_nor_with_its_directory(
    repository: Path, name: str
) -> None:
    write(repository, f"terraform/policies/{name}.json", document())
    (repository / "mine").mkdir()
    (repository / "mine" / "harmless.json").symlink_to(f"../terraform/policies/{name}.json")
    for chosen in (
        name,
        PolicyFile(file=f"terraform/policies/{name}.json", name="mine"),
        PolicyFile(file="mine/harmless.json"),
        PolicyDirectory(directory="terraform/policies", name="all"),
        PolicyDirectory(directory="mine"),
    ):
        error = refused(repository, "sample", chosen)
        assert error.what == f"{name} is a policy for the role that runs this tool, never for a CI user"
        assert error.where is not None
        assert error.where.startswith("environments/prod.yaml:")
        assert error.expected == "one of: other, sample"
    assert name not in documents.names(repository)
