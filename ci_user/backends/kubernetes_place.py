"""One Secret at its cluster: the requests that look at it and write it. None of them has the data in its answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ci_user.backends.http import Remote
from ci_user.backends.kubernetes_client import MERGE, Answer, KubernetesClient, Login
from ci_user.backends.kubernetes_config import log_in
from ci_user.backends.kubernetes_secret import LABELS, MANAGER, SecretLook, notes_of
from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.backends.kubernetes import Settings
    from ci_user.backends.protocol import OpenContext
    from ci_user.secret import Secret


class KubernetesPlace:
    """A Secret's place.

    Args:
        settings: Where it is, and how to log in.
        context: Where the login comes from, and the environment.

    Attributes:
        remote: How refusals are told.
        secret: The Secret in words.

    Raises:
        BackendError: There is no login, or it is for another server; the client is not installed.
    """

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        environment = context.environment
        if settings.context is None:
            token = settings.login(context)
            ca_file = settings.trusted(context.root)
            login = Login(token.source, lambda: f"Bearer {token.secret.reveal()}", ca_file)
        else:
            login = log_in(settings.context, settings.url, context.environ, settings.target(environment))
        target = settings.target(environment)
        self.remote = Remote(settings.vendor, target, login.source, settings.scopes, settings.what())
        self.secret = f"the Secret {settings.name} in {settings.what()}"
        self._namespace, self._name, self._prefix = settings.namespace, settings.name, environment.prefix
        self._client = KubernetesClient(settings.url, login, self.remote, context)

    def version(self) -> str:
        """Return the cluster's version, in words; a cluster may keep it to itself."""
        get = self._client.version.get_code
        answer = self._client.call("asking for the version", lambda: get(_preload_content=False), expecting=(403,))
        version = answer.document.get("gitVersion") if answer.status == 200 else None
        return f"Kubernetes {plain(version, 60)}" if version else "Kubernetes"

    def find_namespace(self) -> str:
        """See that the namespace exists, as far as the login may look at it.

        Raises:
            BackendError: It does not, or it is being deleted.
        """
        doing = f"looking for {self.remote.what}"
        get = self._client.core.read_namespace
        answer = self._client.call(doing, lambda: get(self._namespace, _preload_content=False), expecting=(403,))
        if answer.status == 403:
            return f"{self.remote.what} may not be looked at"
        status = answer.document.get("status")
        if not isinstance(status, dict):
            raise self.remote.not_understood(doing)
        if status.get("phase") == "Terminating":
            raise BackendError(
                f"{self.remote.what} is being deleted",
                where=self.remote.target,
                expected="a namespace that stays",
                do="make it again, or correct `namespace` in the environment file",
                runbook="backend",
            )
        return f"{self.remote.what} exists"

    def check_rights(self, *verbs: str) -> str:
        """See that the login may do this to the Secret, as far as the cluster tells it; return what was found, in words.

        Raises:
            BackendError: It may not.
        """
        allowed = {verb: self._allowed(verb) for verb in verbs}
        missing = [verb for verb, found in allowed.items() if found is False]
        if missing:
            raise BackendError(
                f"the login may not {', '.join(missing)} {self.secret}",
                where=self.remote.target,
                expected=f"{self.remote.what} exists, and the login has {self.remote.needs}",
                do=f"give the login in {self.remote.credential} what it lacks: it needs {self.remote.needs}",
                runbook="backend",
            )
        if None in allowed.values():
            return "the login may not ask for its rights (selfsubjectaccessreviews)"
        return f"it may write and delete {self.secret}"

    def _allowed(self, verb: str) -> bool | None:
        """Return whether the login may do it; None when it may not ask."""
        # A request to create names no object, so rights by name never allow it:
        # https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
        name = {} if verb == "create" else {"name": self._name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"namespace": self._namespace, "verb": verb, "resource": "secrets", **name}},
        }
        doing = "asking for the login's rights"
        ask = self._client.authorization.create_self_subject_access_review
        answer = self._client.call(doing, lambda: ask(review, _preload_content=False), expecting=(403,))
        if answer.status == 403:
            return None
        status = answer.document.get("status")
        if not isinstance(status, dict) or not isinstance(status.get("allowed"), bool):
            raise self.remote.not_understood(doing)
        return bool(status["allowed"])

    def look(self) -> SecretLook | None:
        """Return what is there, None for no Secret."""
        doing = f"looking at {self.secret}"
        get = self._client.secrets.read_namespaced_secret
        answer = self._client.call(
            doing, lambda: get(self._name, self._namespace, _preload_content=False), expecting=(404,)
        )
        return None if answer.status == 404 else self._understood(doing, answer)

    def write(self, doing: str, look: SecretLook | None, parts: Mapping[str, Secret], key_id: str) -> SecretLook | None:
        """Make the Secret, or change the one that was looked at; return what is there then.

        Returns:
            None when it is no more as it was looked at.
        """
        expecting = (409,) if look is None else (404, 409)
        answer = self._write(doing, look, parts, key_id, expecting=expecting, secret=True)
        return None if answer.status in expecting else self._understood(doing, answer)

    def rehearse(self, look: SecretLook | None, parts: Mapping[str, Secret]) -> str:
        """Let quotas, policies and webhooks judge a write of placeholders; nothing of it is kept.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run

        Raises:
            BackendError: The cluster would not take it.
        """
        doing = f"trying to write {self.secret} (dry run)"
        answer = self._write(doing, look, parts, "-", expecting=(400,), dry_run="All")
        if answer.status != 400:
            self._understood(doing, answer)
            return "the cluster would take the write (dry run)"
        if "dry run" not in answer.message:
            raise self.remote.refused(doing, 400, answer.message)
        return "a webhook of the cluster knows no dry run, so the write was not tried"

    def delete(self, doing: str, look: SecretLook) -> bool:
        """Delete the Secret that was looked at; return False when it is there still: as it was no more, or with finalizers."""
        body = {"preconditions": {"resourceVersion": look.version, "uid": look.uid}}
        delete = self._client.secrets.delete_namespaced_secret
        answer = self._client.call(
            doing,
            lambda: delete(self._name, self._namespace, body=body, _preload_content=False),
            expecting=(404, 409),
        )
        # Only what is gone is answered by a status; what waits for its finalizers is answered by itself.
        return answer.status != 409 and answer.document.get("kind") == "Status"

    def take_off(self, doing: str, look: SecretLook) -> bool:
        """Take the tool's keys and notes off the Secret that was looked at; return False when it is no more as it was."""
        body = _merge(look, dict.fromkeys(look.names), notes_of(None, None, ()), dict.fromkeys(LABELS))
        patch = self._client.secrets.patch_namespaced_secret
        more: dict[str, Any] = {"_content_type": MERGE, "field_manager": MANAGER, "_preload_content": False}
        answer = self._client.call(
            doing, lambda: patch(self._name, self._namespace, body, **more), expecting=(404, 409)
        )
        return answer.status != 409

    def _write(
        self,
        doing: str,
        look: SecretLook | None,
        parts: Mapping[str, Secret],
        key_id: str,
        *,
        expecting: tuple[int, ...],
        secret: bool = False,
        **more: Any,
    ) -> Answer:
        more |= {"field_manager": MANAGER, "_preload_content": False}
        notes = notes_of(self._prefix, key_id, tuple(parts))
        create = self._client.secrets.create_namespaced_secret
        patch = self._client.secrets.patch_namespaced_secret

        def send() -> Any:
            # Made here, so that nothing above holds the values.
            data = {name: base64.b64encode(value.reveal().encode()).decode() for name, value in parts.items()}
            if look is None:
                metadata = {"name": self._name, "annotations": notes, "labels": LABELS}
                body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
                return create(self._namespace, body, **more)
            body = _merge(look, {**dict.fromkeys(look.names), **data}, notes, LABELS)
            return patch(self._name, self._namespace, body, _content_type=MERGE, **more)

        return self._client.call(doing, send, expecting=expecting, secret=secret)

    def _understood(self, doing: str, answer: Answer) -> SecretLook:
        look = SecretLook.of(answer.document)
        if look is None:
            raise self.remote.not_understood(doing)
        return look


def _merge(
    look: SecretLook,
    data: Mapping[str, str | None],
    notes: Mapping[str, str | None],
    labels: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return a merge patch that is good only for what was looked at; None takes off (RFC 7386)."""
    return {
        "metadata": {"resourceVersion": look.version, "annotations": notes, "labels": labels},
        "data": data,
    }
