"""The commands behind `invoke policy.*`: on plain files, without an environment and without AWS; `show` takes one's files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci_user import naming
from ci_user.errors import PolicyError, UsageError
from ci_user.policy import documents
from ci_user.policy.choice import COMBINED
from ci_user.policy.pack import Source
from ci_user.policy.pack import pack as packed
from ci_user.reports.model import TextReport

if TYPE_CHECKING:
    from ci_user.policy.lint_finding import LintFinding
    from ci_user.policy.statement import Statement
    from ci_user.reports.console import Console
    from ci_user.reports.model import Report


def given(files: Sequence[str], flag: str = "--file") -> tuple[Source, ...]:
    """Return the policy documents that a person named, as they stand: ``${...}`` is not filled in.

    Each is called like its file, or by its path where two files are called the same.

    Raises:
        UsageError: None was named, or one twice.
        PolicyError: One cannot be read (see `documents.read`).
    """
    if not files or not all(files):
        raise UsageError(
            "no policy file was named", where=flag, expected=f"{flag} FILE, such as {flag} policies/extra.json"
        )
    stems = [Path(file).stem for file in files]
    sources: dict[Path, Source] = {}
    for file, stem in zip(files, stems, strict=True):
        path = Path(file).resolve()
        if path in sources:
            raise UsageError(f"{file} is named twice", where=flag, expected="each file once")
        sources[path] = Source(stem if stems.count(stem) == 1 else file, documents.read(Path(file)), file)
    return tuple(sources.values())


def lint(_: Console, *, files: Sequence[str], aws: bool) -> Report:
    """`invoke policy.lint`."""
    from ci_user.policy.lint import SEVERITIES, lint_file

    sources = given(files)
    findings = [one for source in sources for one in lint_file(Path(source.where), source.where)]
    if aws:
        findings += _asked(sources)
    lines = []
    for one in findings:
        lines += [f"{one.severity}: {one.where}: {one.message} [{one.id}]", f"  to do: {one.fix}"]
    counts = {name: sum(one.severity == name for one in findings) for name in SEVERITIES}
    words = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count)
    lines.append(words or f"{len(sources)} file{'s' * (len(sources) != 1)}, nothing to mend")
    grave = counts["error"] + counts["warning"]
    return TextReport(tuple(lines), {"findings": [one.as_dict() for one in findings]}, exit_code=3 if grave else 0)


def _asked(sources: Sequence[Source]) -> list[LintFinding]:
    """Return what IAM Access Analyzer finds.

    Raises:
        CredentialsError, AwsError: AWS could not be asked.
    """
    import os

    from ci_user.credentials import ambient
    from ci_user.policy.access_analyzer import validate
    from ci_user.policy.lint_template import rendered

    access = ambient(os.environ)
    return [
        one
        for source in sources
        for one in validate(rendered(dict(source.document)), access, source.where, Path(source.where))
    ]


def escalation(_: Console, *, files: Sequence[str], boundary: str, role_boundary: str = "") -> Report:
    """`invoke policy.escalation`."""
    from ci_user.policy.escalation import escalation as judged
    from ci_user.policy.escalation_principals import demanded_boundaries
    from ci_user.policy.holder import Holder

    identity = tuple(one for source in given(files) for one in _statements(source))
    limits = _statements(*given([boundary], "--boundary")) if boundary else None
    holder = Holder(identity, limits)
    if role_boundary:
        content = _statements(*given([role_boundary], "--role-boundary"))
        holder = replace(holder, contents=dict.fromkeys(demanded_boundaries(holder), content))
    found = judged(holder)
    return TextReport(found.lines(), found.document(), exit_code=0 if found.verdict == "safe" else 3)


def _statements(source: Source) -> tuple[Statement, ...]:
    """Return a file's statements, the project's parameters filled in with plausible values.

    Raises:
        PolicyError: It is not shaped like a policy, or has an unknown parameter.
    """
    from ci_user.policy.lint_template import rendered
    from ci_user.policy.statement import UnreadableStatementError, statements

    try:
        return statements(rendered(dict(source.document)), source.where)
    except UnreadableStatementError as error:
        raise PolicyError(
            str(error),
            where=source.where,
            expected="an identity policy, as IAM's grammar has it",
            do=f"`invoke policy.lint --file {source.where}` says more",
        ) from None


def diff(_: Console, *, old: str, new: str) -> Report:
    """`invoke policy.diff`."""
    from ci_user.policy.diff import diff as compared

    (before,), (after,) = given([old], "--old"), given([new], "--new")
    found = compared(_statements(before), _statements(after))
    lines = found.lines()
    document = {
        "gained": [line.removeprefix("+ ") for line in lines if line.startswith("+")],
        "lost": [line.removeprefix("- ") for line in lines if line.startswith("-")],
    }
    return TextReport(lines or ("both allow the same",), document)


def pack(_: Console, *, files: Sequence[str], out: str) -> Report:
    """`invoke policy.pack`."""
    sources = given(files)
    name = sources[0].name if len(sources) == 1 else COMBINED
    packs = packed(sources, name if naming.is_name(name, naming.POLICY_LENGTH) else "policy", where="--file")
    contents = {name: _described(name, text) for name, text in packs.items()}
    parameters = sorted({found for text in packs.values() for found in re.findall(r"\$\{[a-z_]+\}", text)})
    lines = [f"{name}: {_words(content)}" for name, content in contents.items()]
    if parameters:
        lines.append(f"{', '.join(parameters)} counted as written: `invoke policy.show --env NAME` fills them in")
    written = _write(packs, Path(out).absolute()) if out else ()
    lines += [f"wrote {path}" for path in written]
    return TextReport(
        tuple(lines), {"packs": list(contents.values()), "parameters": parameters, "written": list(map(str, written))}
    )


def show(_: Console, *, env: str, policy: str = "") -> Report:
    """`invoke policy.show`."""
    from ci_user.commands import ROOT, named
    from ci_user.run import load

    loaded = load(named(env), ROOT)
    environment = loaded.environment
    if policy:
        from ci_user.policy import operators

        text = operators.document(policy, environment, loaded.every.values(), ROOT)
        content = _described(policy, text)
        # Nothing but the document: it is written into a file, or pasted.
        return TextReport(tuple(line[2:] for line in _indented(content["document"])), content)
    policies = {
        name: {**_described(name, text), "arn": environment.policy_arn(name)}
        for name, text in loaded.choice.packs.items()
    }
    boundary = {**_described("boundary", loaded.boundary), "arn": environment.boundary_arn}
    role_boundary = {**_described("role boundary", loaded.role_boundary), "arn": environment.role_boundary_arn}
    lines: list[str] = []
    for title, content in (
        *((f"policy {name}", content) for name, content in policies.items()),
        ("boundary of the user", boundary),
        ("boundary of the pipeline's roles", role_boundary),
    ):
        lines += [f"{title}: {content['arn']}, {_words(content)}", *_indented(content["document"]), ""]
    lines += [f"existing policy: {arn}, whose content only AWS knows" for arn in loaded.choice.attached_arns]
    return TextReport(
        tuple(lines),
        {
            "environment": environment.name,
            "policies": list(policies.values()),
            "attached_arns": list(loaded.choice.attached_arns),
            "boundary": boundary,
            "role_boundary": role_boundary,
        },
    )


def _described(name: str, text: str) -> dict[str, Any]:
    import json

    document = json.loads(text)
    return {
        "name": name,
        "size": documents.size(text),
        "limit": documents.MANAGED_POLICY_SIZE,
        "statements": len(document["Statement"]),
        "document": document,
    }


def _words(content: Mapping[str, Any]) -> str:
    statements = content["statements"]
    return f"{statements} statement{'' if statements == 1 else 's'}, {content['size']:,} of {content['limit']:,} characters"


def _indented(document: Mapping[str, Any]) -> list[str]:
    import json

    return [f"  {line}" for line in json.dumps(document, indent=2).split("\n")]


def _write(packs: Mapping[str, str], directory: Path) -> tuple[Path, ...]:
    """Write each pack into a directory of its own, NAME.json.

    Raises:
        UsageError: The directory holds something, or cannot be written.
    """
    from ci_user.approval import refuse_used
    from ci_user.files import write_private

    refuse_used(directory)
    written = []
    for name, text in packs.items():
        path = directory / f"{name}.json"
        write_private(path, f"{text}\n".encode())
        path.chmod(0o644)
        written.append(path)
    return tuple(written)
