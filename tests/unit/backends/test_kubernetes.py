"""What is Kubernetes' own; what all backends have in common is in the contract."""

from __future__ import annotations

import base64
import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from ci_user.backends import settings_model, settings_of
from ci_user.backends.protocol import Held
from ci_user.errors import BackendError
from tests.contract.doubles.kubernetes import Cluster, SecretPlace
from tests.contract.place import SECRET, TOKEN, Names, new_key
from tests.vendors.server import Call, Reply


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def place(server: Cluster, tmp_path: Path) -> Iterator[SecretPlace]:
    found = SecretPlace(tmp_path, server)
    yield found
    violations = list(server.violations)
    server.before, server.after = (lambda _: None), (lambda _call, _reply: None)
    server.calls.clear()
    server.violations.clear()
    assert violations == []


def validated(**changes: Any) -> Any:
    document = {"backend": "kubernetes", "url": "https://k8s.example.com:6443", "namespace": "ci", "name": "aws"}
    return settings_model("kubernetes").model_validate(document | changes)


# Settings


def test_names_that_kubernetes_would_refuse_are_refused_by_the_file() -> None:
    wrong = {
        "namespace": ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n", "größe", ".."],
        "name": ["", "-a", "a.", "A", "a..b", "a_b", "a" * 254, "a/b", "a.-b", ".."],
        "context": ["", "a b", "a\n"],
        "url": ["http://k8s.example.com", "k8s.example.com", "https://user@k8s.example.com"],
    }
    for setting, values in wrong.items():
        for value in values:
            with pytest.raises(ValidationError):
                validated(**{setting: value})
    with pytest.raises(ValidationError, match="a namespace: at most 63"):
        validated(namespace="My_Namespace")
    for more in ({"token": {"variable": "X"}}, {"ca_file": "ca.pem"}):
        with pytest.raises(ValidationError, match="context, or token and ca_file"):
            validated(context="x", **more)


def test_a_place_is_one_line_and_back_whatever_the_keys_are_called() -> None:
    settings = validated(url="https://rancher.example.com/k8s/clusters/c-1", name="a.b-c", names={"prefix": "PROD_"})
    target = settings.target(Names())
    assert target == "kubernetes:rancher.example.com%2Fk8s%2Fclusters%2Fc-1/ci/a.b-c"
    found = settings_of(target, Names())
    assert found is not None
    assert found.target(Names()) == target
    for wrong in (
        "kubernetes:",
        "kubernetes:x",
        "kubernetes:x/ci",
        "kubernetes:x/ci/aws/y",
        "kubernetes:x/C/aws",
        f"{target}#A",
    ):
        assert settings_of(wrong, Names()) is None


def test_importing_it_imports_no_library() -> None:
    code = "import sys, ci_user.backends.kubernetes; sys.exit(bool({'kubernetes', 'urllib3', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_library_the_error_names_the_extra(place: SecretPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(BackendError, match="package kubernetes is not installed") as caught:
        place.open().preflight()
    assert "ci-user[kubernetes]" in str(caught.value.do)


# The Secret


def test_the_secret_is_as_kubernetes_wants_it(place: SecretPlace) -> None:
    key = new_key()
    place.deliver(key, place.open(names={"region": "AWS_REGION"}))
    found = place.stored
    assert found is not None
    assert {name: base64.b64decode(value).decode() for name, value in found.data.items()} == {
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-west-1",
    }
    assert found.annotations == {
        "ci-user/environment": "shop-testing",
        "ci-user/key-id": key.id,
        "ci-user/names": "AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,AWS_REGION",
    }
    assert found.labels == {"app.kubernetes.io/managed-by": "ci-user"}
    assert list(found.managers) == ["ci-user"]


def test_the_client_is_the_official_one_and_says_who_asks(place: SecretPlace) -> None:
    place.deliver(new_key())
    assert {call.headers["user-agent"].partition("/")[0] for call in place.server.calls} == {"ci-user"}
    assert all("application/json" in call.headers["accept"] for call in place.server.calls)


def test_a_cluster_that_sends_the_data_all_the_same_is_not_believed(place: SecretPlace) -> None:
    place.deliver(new_key())

    def whole(call: Call, reply: Reply) -> Reply | None:
        document = copy.deepcopy(reply.document) | {"kind": "Secret", "data": {"AWS_SECRET_ACCESS_KEY": "x"}}
        return Reply(200, document) if call.path[-2:-1] == ("secrets",) else None

    place.server.after = whole
    with pytest.raises(BackendError, match="not what Kubernetes documents"):
        place.open().held()


@pytest.mark.parametrize("region", [None, "AWS_REGION"])
def test_values_that_stay_the_same_stay_the_tools(place: SecretPlace, region: str | None) -> None:
    names, first, second = {"region": region}, new_key(), new_key()
    for key in (first, first, second, first):
        place.deliver(key, place.open(names=names))
        assert place.open(names=names).held() == Held(key.id, None)


# Others


def test_keys_that_others_add_stay_through_a_rotation_and_the_removal(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.write(place.namespace, place.name, {"DATABASE": "x"}, manager="helm")
    key = new_key()
    place.open().preflight()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.consumed(("DATABASE",)) == ("x",)
    assert place.open().remove() is True
    found = place.stored
    assert found is not None
    assert list(found.data) == ["DATABASE"]
    assert (found.annotations, found.labels) == ({}, {})
    assert place.open().held() == Held(None, None)
    assert place.open().remove() is False
    with pytest.raises(BackendError, match="not made by this tool"):
        place.open().preflight()


def test_a_key_of_others_is_not_taken_by_another_name_in_the_file(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.write(place.namespace, place.name, {"DATABASE": "x"})
    names = {"secret": "DATABASE"}
    for refused in (place.open(names=names).preflight, lambda: place.deliver(new_key(), place.open(names=names))):
        with pytest.raises(BackendError, match="the key DATABASE of the Secret"):
            refused()
    assert place.consumed(("DATABASE",)) == ("x",)


def test_a_label_or_note_of_others_is_no_change_of_the_key(place: SecretPlace) -> None:
    key = new_key()
    place.deliver(key)
    before = place.stored
    after = copy.deepcopy(before)
    assert after is not None
    after.labels |= {"team": "x"}
    place.server.keep(place.namespace, before, after, "kubectl-label")
    assert place.open().held() == Held(key.id, None)
    place.open().preflight()


def test_a_key_that_was_deleted_by_hand_is_written_anew(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.write_foreign()
    before = place.stored
    after = copy.deepcopy(before)
    assert after is not None
    del after.data["AWS_SECRET_ACCESS_KEY"]
    place.server.keep(place.namespace, before, after, "kubectl-edit")
    assert place.open().held() == Held(None, None, torn=True)
    key = new_key()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


def test_a_copy_that_a_backup_restored_is_not_taken_for_delivered(place: SecretPlace) -> None:
    key = new_key()
    place.deliver(key)
    restored = copy.deepcopy(place.stored)
    assert restored is not None
    restored.managers = {}
    place.server.keep(place.namespace, None, restored, "velero-server")
    assert place.open().held() == Held(None, None)
    with pytest.raises(BackendError, match="changed by somebody else"):
        place.open().preflight()


def test_a_secret_that_an_administrator_prepared_needs_no_right_to_create(place: SecretPlace) -> None:
    from tests.contract.doubles.kubernetes import Stored

    prepared = Stored(place.name, annotations={"ci-user/environment": "shop-testing"})
    place.server.keep(place.namespace, None, prepared, "kubectl-create")
    place.server.rights[place.namespace].remove("create")
    assert place.open().held() == Held(None, None, torn=True)
    key = new_key()
    place.open().preflight()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.open().remove() is True
    assert place.stored is None


def once(act: Callable[[], object], operation: str) -> Callable[[Call], Reply | None]:
    """Have somebody act just before the first request of a kind arrives."""
    done: list[Call] = []

    def before(call: Call) -> None:
        if call.method == operation and not done:
            done.append(call)
            act()

    return before


def test_a_change_of_others_between_look_and_write_is_looked_at_first(place: SecretPlace) -> None:
    place.deliver(new_key())
    key = new_key()
    place.server.before = once(lambda: place.server.write(place.namespace, place.name, {"DATABASE": "x"}), "PATCH")
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.consumed(("DATABASE",)) == ("x",)


def test_a_value_that_others_change_between_look_and_write_is_not_overwritten(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.before = once(place.write_foreign, "PATCH")
    with pytest.raises(BackendError, match="changed by somebody else"):
        place.deliver(new_key())
    assert place.consumed()[1] == "foreign"


def test_a_secret_that_others_make_between_look_and_write_is_not_overwritten(place: SecretPlace) -> None:
    place.server.before = once(place.write_foreign, "POST")
    with pytest.raises(BackendError, match="not made by this tool"):
        place.deliver(new_key())
    assert place.consumed() == (None, "foreign")


def test_what_others_add_between_look_and_removal_stays(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.before = once(lambda: place.server.write(place.namespace, place.name, {"DATABASE": "x"}), "DELETE")
    assert place.open().remove() is True
    assert place.consumed(("DATABASE", "AWS_ACCESS_KEY_ID")) == ("x", None)


def test_a_place_that_changes_all_the_time_is_given_up(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.before = lambda call: (
        Reply(409, {"kind": "Status", "message": "again"}) if call.method in ("PATCH", "DELETE") else None
    )
    for refused in (lambda: place.deliver(new_key()), place.open().remove):
        with pytest.raises(BackendError, match="409"):
            refused()


def test_a_secret_that_others_delete_between_look_and_write_is_made_anew(place: SecretPlace) -> None:
    place.deliver(new_key())
    key = new_key()
    place.server.before = once(lambda: place.server.secrets.pop((place.namespace, place.name)), "PATCH")
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("reply", [Reply(drop=True), Reply(504, {"kind": "Status", "message": "timed out"})])
def test_a_write_that_took_effect_without_an_answer_counts(place: SecretPlace, first: bool, reply: Reply) -> None:
    if not first:
        place.deliver(new_key())
    key, lost = new_key(), iter([reply])
    place.server.after = lambda call, _: next(lost, None) if call.method in ("POST", "PATCH") else None
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert len([call for call in place.server.changing if not place.reads(call)]) == (1 if first else 2)


def test_a_write_that_never_arrived_is_tried_again(place: SecretPlace) -> None:
    key, lost = new_key(), iter([Reply(drop=True), Reply(503, {"kind": "Status"})])
    place.server.before = lambda call: next(lost, None) if call.method == "POST" else None
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)
    assert place.pauses.seconds == [0.5, 2.0]


def test_a_secret_that_waits_for_its_finalizers_takes_no_key_and_keeps_none(place: SecretPlace) -> None:
    place.deliver(new_key())
    assert place.stored is not None
    place.stored.finalized = False
    assert place.open().remove() is True
    assert place.stored.ending
    assert place.stored.data == {}
    assert place.open().remove() is False
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="is being deleted"):
            refused()


def test_a_secret_whose_finalizers_are_done_at_once_was_removed(place: SecretPlace) -> None:
    place.deliver(new_key())
    assert place.stored is not None
    place.stored.finalized = False

    def done(call: Call, _: Reply) -> None:
        if call.method == "DELETE":
            del place.server.secrets[place.namespace, place.name]

    place.server.after = done
    assert place.open().remove() is True
    assert place.stored is None


def test_a_key_in_a_secret_that_is_being_deleted_does_not_count(place: SecretPlace) -> None:
    place.deliver(new_key())
    assert place.stored is not None
    place.stored.ending = "2026-11-02T00:00:00Z"
    assert place.open().held() == Held(None, None, torn=True)
    assert place.open().remove() is True
    assert place.consumed() == (None, None)


def test_a_page_of_something_in_between_does_not_say_that_nothing_is_there(place: SecretPlace) -> None:
    place.deliver(new_key())
    pages = iter([page for page in (b"default backend - 404", b"", b"{}", b"[" * 100_000) for _ in range(2)])
    place.server.before = lambda _: Reply(404, body=next(pages))
    for _ in range(4):
        for refused in (place.open().held, place.open().remove):
            with pytest.raises(BackendError, match="not what Kubernetes documents"):
                refused()


def test_a_login_that_may_not_ask_for_its_rights_is_no_hindrance(place: SecretPlace) -> None:
    no = Reply(403, {"kind": "Status", "message": "selfsubjectaccessreviews is forbidden"})
    place.server.before = lambda call: no if call.path[0] == "apis" else None
    assert any("may not ask for its rights" in words for words in place.open().preflight())
    place.server.rights[place.namespace].remove("create")
    with pytest.raises(BackendError, match="dry run"):
        place.open().preflight()


def test_a_write_that_a_webhook_changed_is_not_counted(place: SecretPlace) -> None:
    place.server.mutating.add(place.namespace)
    with pytest.raises(BackendError, match="perhaps by a webhook"):
        place.deliver(new_key())
    assert place.open().held().current is None


def test_a_cluster_that_does_not_tell_who_wrote_is_not_counted_and_nothing_of_others_is_deleted(
    place: SecretPlace,
) -> None:
    place.server.untracked.add(place.namespace)
    with pytest.raises(BackendError, match="does not tell its writer"):
        place.deliver(new_key())
    place.server.write(place.namespace, place.name, {"DATABASE": "x"})
    assert place.open().remove() is True
    assert place.consumed(("DATABASE", "AWS_ACCESS_KEY_ID")) == ("x", None)


# Before a key is made


def test_preflight_tells_what_it_found_and_keeps_nothing(place: SecretPlace) -> None:
    sentences = place.open().preflight()
    assert sentences[0] == "Kubernetes v1.37.0 answers, and takes the login"
    assert any("(dry run)" in sentence for sentence in sentences)
    assert place.stored is None
    key = new_key()
    place.deliver(key)
    before = copy.deepcopy(place.stored)
    place.open().preflight()
    assert place.stored == before
    asked = [call.body["spec"]["resourceAttributes"] for call in place.server.calls if call.path[0] == "apis"]
    assert {one["verb"]: one.get("name") for one in asked} == {
        "get": place.name,
        "create": None,
        "patch": place.name,
        "delete": place.name,
    }


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_a_missing_right_is_named(place: SecretPlace, verb: str) -> None:
    place.server.rights[place.namespace].remove(verb)
    with pytest.raises(BackendError, match=f"may not {verb} the Secret") as caught:
        place.open().preflight()
    assert "KUBE_TOKEN" in str(caught.value.do)


def test_a_right_to_patch_is_asked_for_where_a_secret_is(place: SecretPlace) -> None:
    place.deliver(new_key())
    place.server.rights[place.namespace].remove("patch")
    with pytest.raises(BackendError, match="may not patch the Secret"):
        place.open().preflight()


def test_a_login_of_one_namespace_needs_not_see_the_namespace(place: SecretPlace) -> None:
    place.server.hidden.add(place.namespace)
    assert f"the namespace {place.namespace} may not be looked at" in place.open().preflight()
    key = new_key()
    place.deliver(key)
    assert place.open().held() == Held(key.id, None)


def test_a_namespace_that_is_being_deleted_is_refused(place: SecretPlace) -> None:
    place.server.namespaces[place.namespace] = "Terminating"
    for refused in (place.open().preflight, lambda: place.deliver(new_key())):
        with pytest.raises(BackendError, match="is being deleted"):
            refused()
    assert place.stored is None


def test_what_the_cluster_would_refuse_is_told_in_its_words_before_a_key_is_made(place: SecretPlace) -> None:
    place.server.quota.add(place.namespace)
    with pytest.raises(BackendError, match="exceeded quota"):
        place.open().preflight()


def test_an_immutable_secret_is_found_beforehand(place: SecretPlace) -> None:
    place.deliver(new_key())
    found = place.stored
    assert found is not None
    found.immutable = True
    with pytest.raises(BackendError, match="field is immutable"):
        place.open().preflight()


def test_a_webhook_without_dry_run_stops_nothing(place: SecretPlace) -> None:
    place.server.blind.add(place.namespace)
    assert any("knows no dry run" in sentence for sentence in place.open().preflight())


def test_a_cluster_that_keeps_its_version_to_itself_is_no_hindrance(place: SecretPlace) -> None:
    place.server.before = lambda call: Reply(403, {"message": "no"}) if call.path[0] == "version" else None
    assert place.open().preflight()[0] == "Kubernetes answers, and takes the login"


def test_a_token_that_no_header_can_carry_is_told_and_not_shown(place: SecretPlace) -> None:
    with pytest.raises(BackendError, match="characters that no request can carry") as caught:
        place.open(environ=place.environ | {"KUBE_TOKEN": "tökén"}).held()
    assert "tökén" not in str(caught.value)


# A context of a kubeconfig


def kubeconfig(place: SecretPlace, user: dict[str, Any], name: str = "kube.yaml", **cluster: Any) -> dict[str, str]:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": place.server.url} | cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "me@cluster", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "me@cluster",
    }
    (place.root / name).write_text(yaml.safe_dump(document))
    return {"KUBECONFIG": str(place.root / name)}


def exec_plugin(place: SecretPlace, script: str) -> dict[str, Any]:
    program = place.root / "plugin.py"
    program.write_text(script)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(program)]}
    return {"exec": plugin | {"interactiveMode": "Never"}}


def credential(token: str) -> str:
    document = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token},
    }
    return f"print({json.dumps(document)!r})"


def users(place: SecretPlace) -> Iterator[dict[str, Any]]:
    (place.root / "token").write_text(TOKEN)
    yield {"token": TOKEN}
    yield {"tokenFile": "token"}
    yield exec_plugin(place, credential(TOKEN))


def test_a_context_logs_in_with_what_its_user_has(place: SecretPlace) -> None:
    for user in users(place):
        environ = kubeconfig(place, user)
        key = new_key()
        place.open(environ=environ, context="me@cluster").preflight()
        place.deliver(key, place.open(environ=environ, context="me@cluster"))
        assert place.open(environ=environ, context="me@cluster").held() == Held(key.id, None)
    assert place.open().held() == Held(key.id, None)


def test_a_context_may_be_spread_over_files(place: SecretPlace) -> None:
    environ = kubeconfig(place, {"token": TOKEN})
    whole = yaml.safe_load(Path(environ["KUBECONFIG"]).read_text())
    (place.root / "users.yaml").write_text(yaml.safe_dump({"users": whole.pop("users")}))
    Path(environ["KUBECONFIG"]).write_text(yaml.safe_dump(whole))
    files = f"{environ['KUBECONFIG']}:{place.root / 'users.yaml'}:{place.root / 'nowhere.yaml'}"
    assert place.open(environ={"KUBECONFIG": files}, context="me@cluster").held() == Held(None, None)


@pytest.mark.parametrize("address", ["https://elsewhere.example.com", "{url}/below", "http://127.0.0.1:1", "x", ""])
def test_a_context_for_another_server_is_refused_before_its_plugin_runs(place: SecretPlace, address: str) -> None:
    ran = place.root / "ran"
    plugin = exec_plugin(place, f"open({str(ran)!r}, 'w')\n{credential(TOKEN)}")
    environ = kubeconfig(place, plugin, server=address.format(url=place.server.url))
    place.server.calls.clear()
    with pytest.raises(BackendError, match="me@cluster of KUBECONFIG") as caught:
        place.open(environ=environ, context="me@cluster").held()
    assert "url" in str(caught.value.do)
    assert not ran.exists()
    assert place.server.calls == []


def test_what_a_context_cannot_do_here_is_told(place: SecretPlace, caplog: pytest.LogCaptureFixture) -> None:
    refused: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"token": TOKEN}, {"insecure-skip-tls-verify": True}, "does not verify TLS"),
        ({"token": TOKEN}, {"tls-server-name": "x"}, "for another name"),
        ({"token": TOKEN, "as": "somebody"}, {}, "acts as somebody else"),
        ({"token": TOKEN, "as-groups": ["system:masters"]}, {}, "acts as somebody else"),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": TOKEN}}}, {}, "auth-provider"),
        ({}, {}, "nothing to log in with"),
        (exec_plugin(place, "raise SystemExit(3)"), {}, "nothing to log in with"),
        ({"tokenFile": "nowhere"}, {}, "cannot be used"),
        ({"token": "two\nlines"}, {}, "characters that no request can carry"),
    ]
    place.server.calls.clear()
    for user, cluster, why in refused:
        with pytest.raises(BackendError, match=why) as caught:
            place.open(environ=kubeconfig(place, user, **cluster), context="me@cluster").held()
        assert TOKEN not in str(caught.value)
        assert caught.value.where == place.open().target
    assert place.server.calls == []
    assert TOKEN not in caplog.text


def test_a_plugin_that_waits_for_ever_holds_nobody_up(place: SecretPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci_user.backends.kubernetes_config.PLUGIN_SECONDS", 0.2)
    done = place.root / "done"
    os.mkfifo(done)
    environ = kubeconfig(place, exec_plugin(place, f"open({str(done)!r}).read()\n{credential(TOKEN)}"))
    with pytest.raises(BackendError, match=r"not done after 0\.2 seconds") as caught:
        place.open(environ=environ, context="me@cluster").held()
    assert caught.value.where == place.open().target
    done.write_text("")


def test_a_kubeconfig_that_is_none_is_told_without_its_text(place: SecretPlace) -> None:
    file = place.root / "kube.yaml"
    cases = [
        ({}, "KUBECONFIG is not set"),
        ({"KUBECONFIG": "/nowhere/kube.yaml"}, "no file that exists"),
        (kubeconfig(place, {"token": TOKEN}, name="other.yaml"), "has no context you"),
    ]
    for environ, why in cases:
        with pytest.raises(BackendError, match=why) as caught:
            place.open(environ=environ, context="you").held()
        assert "KUBECONFIG" in str(caught.value)
    for text in (f"users: [{{token: {TOKEN}", "", "- x", "contexts: x", f"contexts: [{{token: {TOKEN}}}]", "\x00"):
        file.write_text(text)
        with pytest.raises(BackendError) as caught:
            place.open(environ={"KUBECONFIG": str(file)}, context="me@cluster").held()
        assert TOKEN not in "".join((str(caught.value), repr(caught.value.__context__)))


def test_a_place_that_only_its_line_is_left_of_takes_the_usual_token(place: SecretPlace) -> None:
    environ = kubeconfig(place, {"token": TOKEN})
    place.deliver(new_key(), place.open(environ=environ, context="me@cluster"))
    assert place.open().target == place.open(environ=environ, context="me@cluster").target
    assert place.open().remove() is True


# TLS


def test_a_ca_of_ones_own_is_trusted_from_the_file_or_from_the_kubeconfig(tmp_path: Path) -> None:
    from tests.unit.backends.test_http import certificate

    tls, ca_file = certificate(tmp_path)
    with Cluster(tls=tls) as server:
        place = SecretPlace(tmp_path, server)
        with pytest.raises(BackendError, match="no answer"):
            place.open().held()
        assert place.open(ca_file=ca_file.name).held() == Held(None, None)
        environ = kubeconfig(place, {"token": TOKEN}, **{"certificate-authority": ca_file.name})
        assert place.open(environ=environ, context="me@cluster").held() == Held(None, None)
        data = base64.b64encode(ca_file.read_bytes()).decode()
        environ = kubeconfig(place, {"token": TOKEN}, **{"certificate-authority-data": data})
        assert place.open(environ=environ, context="me@cluster").held() == Held(None, None)


def test_a_certificate_and_a_proxy_of_the_kubeconfig_reach_the_session(
    place: SecretPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ci_user.backends import kubernetes_client, kubernetes_config

    for file in ("client.pem", "client.key"):
        (place.root / file).write_text("x")
    user = {"client-certificate": "client.pem", "client-key": "client.key"}
    environ = kubeconfig(
        place, user, server="https://k8s.example.com", **{"proxy-url": "http://proxy.example.com:3128"}
    )
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example.com")
    login = kubernetes_config.log_in("me@cluster", "https://k8s.example.com/", environ, "kubernetes:x")
    assert login.authorization() is None
    sender = kubernetes_client._Sender("https://k8s.example.com", login, place_context(place))
    assert sender._session.cert == (str(place.root / "client.pem"), str(place.root / "client.key"))
    assert set(sender._session.proxies.values()) == {"http://proxy.example.com:3128"}


def place_context(place: SecretPlace) -> Any:
    from ci_user.backends.protocol import OpenContext
    from tests.contract.place import NoAccess

    return OpenContext(NoAccess(), Names(), place.root)


def test_older_clients_that_log_what_is_answered_have_nothing_secret_to_log(
    place: SecretPlace, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str] = []

    def keep(_: Call, reply: Reply) -> None:
        answers.append(json.dumps(reply.document))

    place.server.after = keep
    with caplog.at_level(logging.DEBUG):
        place.deliver(new_key())
        place.deliver(new_key())
    encoded = base64.b64encode(SECRET.encode()).decode()
    assert answers
    assert not any(SECRET in text or encoded in text for text in (*answers, caplog.text))
