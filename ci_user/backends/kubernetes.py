"""Kubernetes: one Secret of a namespace, written at once.

https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
The Secret is the tool's or nobody's. Keys that others add to it stay, a value of ours that others changed is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.hosted import HostedSettings
from ci_user.backends.kubernetes_place import KubernetesPlace
from ci_user.backends.kubernetes_secret import SecretLook
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import NoAnswerError, changed_by_others, check_key_id, not_delivered, not_ours
from ci_user.environment_fields import expected, matching
from ci_user.errors import BackendError
from ci_user.secret import Secret

if TYPE_CHECKING:
    from ci_user.secret import AccessKey

NAME: Final = "kubernetes"
_PAUSES: Final = (0.5, 2.0, 0.0)
"""Seconds after each try. Somebody else may write between a look and the write that rests on it, and an answer may be lost; then
it is looked again. A second write cannot take effect on top of the first, since each names the version that it follows."""

ABOUT: Final = About(
    title="Kubernetes Secret",
    consumers="one Secret of a namespace, with a key of its data for each part",
    tested="a double that checks each request against Kubernetes' own OpenAPI description; never live",
    atomic=True,
    tells="annotations, and the writers of its data in `managedFields`; the data is never asked for",
    extra="kubernetes",
    how_to="""\
```yaml
secrets:
  - backend: kubernetes
    url: https://api.cluster.example.com:6443
    namespace: ci
    name: aws-testing
    ca_file: cluster-ca.pem
```

The token is that of a ServiceAccount (`kubectl create token ci-user -n ci`) in `KUBE_TOKEN`; `KUBE_TOKEN_HOST` names the host
(and port) that it is for. Its least rights, by a Role in that namespace (nobody can limit `create` to one name):

```yaml
rules:
  - {apiGroups: [""], resources: [secrets], resourceNames: [aws-testing], verbs: [get, patch, delete]}
  - {apiGroups: [""], resources: [secrets], verbs: [create]}
```

Whoever may create Secrets can make one that gets a token of any ServiceAccount of the namespace. To do without that right, make
the Secret beforehand, with the annotation `ci-user/environment: PREFIX` (application-environment).

With `context: NAME` in place of token and `ca_file`, the login is that context of the kubeconfig that `KUBECONFIG` names. Its
server must be `url`. An exec plugin of it runs as under kubectl, with this process's environment, for two minutes at most.

The pipeline reads it as any Secret: `envFrom: [{secretRef: {name: aws-testing}}]`.

- A Secret is one environment's, whatever the names in it are.
- Only metadata is read, but `get` cannot be given without the data: the token could read the key.
- A Pod that runs keeps the environment it began with: the grace period must outlast it.
""",
)

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


class Settings(HostedSettings):
    """A Secret of a namespace."""

    vendor: ClassVar[str] = "Kubernetes"
    variable: ClassVar[str] = "KUBE_TOKEN"
    scopes: ClassVar[str] = "get, create, patch and delete on this Secret, by a Role in its namespace"

    backend: Literal["kubernetes"] = Field(description="Which backend this is.")
    # https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
    namespace: Annotated[str, matching(_LABEL, "a namespace: at most 63 of a-z, 0-9 and -, no - at either end")] = (
        Field(description="The namespace, which exists.")
    )
    name: Annotated[
        str,
        matching(
            _SUBDOMAIN, "a Secret's name: at most 253 of a-z, 0-9, - and ., each part begun and ended by a-z, 0-9"
        ),
    ] = Field(description="The Secret's name.")
    context: Annotated[str, matching(r"[!-~]{1,253}", "a context's name")] | None = Field(
        default=None, description="A context of the kubeconfig that KUBECONFIG names, instead of token and ca_file."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.context is not None and (self.token is not None or self.ca_file is not None):
            raise expected("context, or token and ca_file: a context has its own")
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the namespace and the name."""
        return (self.namespace, self.name)

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> dict[str, Any] | None:
        """Return the namespace and the name."""
        return {"namespace": parts[0], "name": parts[1]} if len(parts) == 2 else None

    def what(self) -> str:
        """Return the place in words."""
        return f"the namespace {self.namespace}"

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``kubernetes:HOST/NAMESPACE/NAME``, whatever the key's parts are called in it."""
        return super().target(environment).partition("#")[0]


def open_with(settings: BackendSettings, context: OpenContext) -> KubernetesSecret:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return KubernetesSecret(settings, context)


class KubernetesSecret(DeliverOnly):
    """A Secret as a backend that only takes delivery."""

    name: str = NAME

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self.target: str = settings.target(context.environment)
        self._prefix = context.environment.prefix
        self._region = context.environment.region
        self._pause = context.pause
        self._names = settings.names
        self._open: Callable[[], KubernetesPlace] = lambda: KubernetesPlace(settings, context)
        self._opened: KubernetesPlace | None = None

    @property
    def _place(self) -> KubernetesPlace:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def preflight(self) -> tuple[str, ...]:
        """Check login, namespace, rights and whose the Secret is; then let the cluster try the write without doing it."""
        version = self._place.version()
        namespace = self._place.find_namespace()
        look = self._checked()
        rights = self._place.check_rights("get", "patch" if look else "create", "delete")
        return (
            f"{version} answers, and takes the login",
            namespace,
            rights,
            self._place.rehearse(look, dict.fromkeys(self._names.all, Secret("-"))),
            "the Secret is this environment's" if look else "the Secret does not exist yet",
        )

    def held(self) -> Held:
        """Return the key id in the annotation, if the data is as it was written."""
        look = self._place.look()
        if look is None or look.owner != self._prefix or look.changed:
            return Held(None, None)
        return Held(look.key_id, None) if look.holds(self._names.all) else Held(None, None, torn=True)

    def deliver(self, key: AccessKey) -> None:
        """Make or change the Secret in one request, which fails when somebody else was faster."""
        check_key_id(key.id)
        doing = f"writing {self._place.secret}"
        failure: BackendError | None = None
        for pause in _PAUSES:
            look = self._checked()
            if failure is not None and look is not None and self._delivered(look, key):
                return
            if look is None:
                self._place.find_namespace()
            after = self._written(doing, look, key)
            if isinstance(after, SecretLook):
                if not self._delivered(after, key):
                    why = (
                        "was changed on the way, perhaps by a webhook" if after.tracked else "does not tell its writer"
                    )
                    raise not_delivered(self.target, self._place.secret, f"it {why}")
                return
            failure = after
            if failure is not None:
                if not _may_pass(failure):
                    break
                self._pause(pause)
        raise failure or self._place.remote.refused(doing, 409)

    def _written(self, doing: str, look: SecretLook | None, key: AccessKey) -> SecretLook | BackendError | None:
        try:
            return self._place.write(doing, look, dict(self._names.values(key, self._region)), key.id)
        except BackendError as error:
            return error

    def _delivered(self, look: SecretLook, key: AccessKey) -> bool:
        return look.key_id == key.id and look.holds(self._names.all)

    def remove(self) -> bool:
        """Delete the Secret; if others have added to it, only what the tool wrote."""
        doing, begun = f"deleting {self._place.secret}", False
        for _ in _PAUSES:
            look = self._place.look()
            if look is None or look.owner != self._prefix:
                # It may have gone by itself meanwhile, once its finalizers were done.
                return begun
            self._refuse_changed(look)
            begun = True
            # What waits for its finalizers can still be read: just the key is taken off.
            alone = look.tracked and look.keys <= set(look.names) and not look.ending
            if self._place.delete(doing, look) if alone else self._place.take_off(doing, look):
                return True
        raise self._place.remote.refused(doing, 409)

    def _checked(self) -> SecretLook | None:
        """Return what is there, which is ours or nothing, and nobody else's change."""
        look = self._place.look()
        if look is None:
            return None
        if look.ending:
            raise self._ending()
        if look.owner != self._prefix:
            raise not_ours(self.target, self._place.secret)
        added = sorted(name for name in self._names.all if name in look.keys and name not in look.names)
        if added:
            raise not_ours(self.target, f"the key {', '.join(added)} of {self._place.secret}")
        self._refuse_changed(look)
        return look

    def _ending(self) -> BackendError:
        return BackendError(
            f"{self._place.secret} is being deleted, and waits for its finalizers",
            where=self.target,
            expected="a Secret that stays, or none",
            do="see what its metadata.finalizers wait for, then run the same command again",
            runbook="backend",
        )

    def _refuse_changed(self, look: SecretLook) -> None:
        if look.changed:
            raise changed_by_others(
                self.target,
                f"the key {', '.join(look.changed)} of {self._place.secret}",
                "delete it there if nobody needs its value, then run the same command again",
            )


def _may_pass(failure: BackendError) -> bool:
    """Whether the same write may go well a moment later, or went well without an answer."""
    return isinstance(failure, NoAnswerError) or failure.details.get("status", 0) >= 500
