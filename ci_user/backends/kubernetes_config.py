"""A context of the kubeconfig that the variable KUBECONFIG names, as a login for one address.

The kubeconfig is the user's own, as for kubectl: whoever edits the environment file chooses a context in it, and neither the
file nor where its credentials go. They go to the context's own server only, which is compared with the address in the
environment file before any of them is read and before a credential plugin runs.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ci_user.backends.http import Origin
from ci_user.backends.kubernetes_client import Login, library_of
from ci_user.errors import BackendError
from ci_user.text import plain

VARIABLE: Final = "KUBECONFIG"
PLUGIN_SECONDS: Final = 120.0
"""How long an exec plugin may take; one that opens a browser waits for a person."""
_UNSUPPORTED: Final = {
    "insecure-skip-tls-verify": "does not verify TLS",
    "tls-server-name": "verifies TLS for another name than the address has",
}


def log_in(context: str, url: str, environ: Mapping[str, str], target: str) -> Login:
    """Return the login of a context.

    Args:
        context: Its name.
        url: The address in the environment file.
        environ: The environment variables.
        target: The place, in one line.

    Raises:
        BackendError: There is no such context, it is for another server, or it has nothing to log in with.
    """
    words = f"the context {plain(context)} of {VARIABLE}"
    # Raised here: what the library raises below may quote the file, tokens included.
    outcome = _read(context, url, environ.get(VARIABLE, "").strip(), target, words)
    if isinstance(outcome, str):
        raise BackendError(
            outcome,
            where=target,
            expected=f"{VARIABLE} names a kubeconfig with the context, whose cluster has the server {url}",
            do="correct `context` and `url` in the environment file, or the kubeconfig;"
            " or leave `context` out and set KUBE_TOKEN and KUBE_TOKEN_HOST",
            runbook="backend",
        )
    return outcome


def _read(context: str, url: str, files: str, target: str, words: str) -> Login | str:
    if not files:
        return f"{VARIABLE} is not set, and the environment file names a context of it"
    library = library_of(target, "kubernetes.config.kube_config")
    from yaml import YAMLError

    try:
        merged = library.KubeConfigMerger(files).config
        if merged is None:
            return f"{VARIABLE} names no file that exists"
        found = merged["contexts"].get_with_name(context, safe=True)
        if found is None:
            return f"{VARIABLE} has no context {plain(context)}"
        named = found["context"]
        cluster = merged["clusters"].get_with_name(named["cluster"])["cluster"]
        refusal = _other(str(cluster["server"]), url, words) or _unsupported(merged, named, cluster, words)
        if refusal:
            return refusal
        configuration = library_of(target, "kubernetes.client").Configuration()
        loader = library.KubeConfigLoader(merged, active_context=context, config_base_path=None)
        _in_time(lambda: loader.load_and_set(configuration), words, target)
    except (library.ConfigException, YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        return f"{words} cannot be used ({type(error).__name__})"
    proxy = None if Origin.of(url).loopback else cluster.safe_get("proxy-url")
    return _login(configuration, proxy, words, target)


def _other(server: str, url: str, words: str) -> str | None:
    try:
        same = Origin.of(server) == Origin.of(url) and _below(server) == _below(url)
    except ValueError:
        same = False
    return None if same else f"{words} is for {plain(server, 300)}, and nothing of it is sent to {plain(url, 300)}"


def _below(address: str) -> str:
    return urlsplit(address).path.rstrip("/")


def _unsupported(merged: Any, named: Any, cluster: Any, words: str) -> str | None:
    for setting, why in _UNSUPPORTED.items():
        if cluster.safe_get(setting):
            return f"{words} has {setting}, which {why}"
    user = merged["users"].get_with_name(named["user"])["user"]
    if any(user.safe_get(setting) for setting in ("as", "as-uid", "as-groups", "as-user-extra")):
        # The library would leave it out, and act with the rights of the user itself.
        return f"{words} acts as somebody else (as, as-groups), which is not supported"
    # They left Kubernetes in 1.26, and the library renews some of them over TLS that it does not verify.
    return f"{words} has an auth-provider; use an exec plugin" if "auth-provider" in user else None


def _login(configuration: Any, proxy: str | None, words: str, target: str) -> Login | str:
    files = (configuration.cert_file, configuration.key_file)
    certificate = (str(files[0]), str(files[1])) if all(files) else None

    def authorization() -> str | None:
        if configuration.refresh_api_key_hook is not None:
            # Runs the plugin again when its token has expired.
            _in_time(lambda: configuration.refresh_api_key_hook(configuration), words, target)
        # Older versions of the library have the other name.
        found = configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization")
        return str(found) if found else None

    if certificate is None and authorization() is None:
        return f"{words} has nothing to log in with: neither token, certificate nor a plugin that gave one"
    return Login(
        words,
        authorization,
        Path(configuration.ssl_ca_cert) if configuration.ssl_ca_cert else None,
        certificate,
        proxy,
    )


def _in_time(run: Callable[[], object], words: str, target: str) -> None:
    """Run what may start a plugin, which may wait for ever; no other place waits for it then.

    Raises:
        BackendError: It is not done in time.
    """
    failures: list[Exception] = []

    def work() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failures.append(error)

    # A daemon, since the library gives no way to end the plugin: at its end the process does not wait for it.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PLUGIN_SECONDS)
    if thread.is_alive():
        raise BackendError(
            f"{words}: its exec plugin is not done after {PLUGIN_SECONDS:g} seconds",
            where=target,
            expected="a plugin that needs no person, or one who is quick",
            do="run the plugin by itself to see what it waits for, or log in with it beforehand",
            runbook="backend",
        )
    if failures:
        raise failures[0]
