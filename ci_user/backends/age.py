"""An age file: the key, encrypted to the recipients in the environment file, for teams whose secret store is their repository.

https://age-encryption.org/v1
A note lies beside it, so that nothing needs to be decrypted to tell which key is in it (``age_note``).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, PrivateAttr, Strict, ValidationError

from ci_user.backends.age_note import Content, Look, Note
from ci_user.backends.deliver_only import DeliverOnly
from ci_user.backends.key_names import Names
from ci_user.backends.private_file import Directory, NotOursError, NotRegularError, PrivateFile
from ci_user.backends.protocol import About, BackendSettings, EnvironmentNames, Held, OpenContext
from ci_user.backends.refusals import changed_by_others, check_key_id, extra_missing, not_delivered
from ci_user.backends.slots import alone
from ci_user.environment_fields import RepositoryPath, matching
from ci_user.errors import BackendError
from ci_user.text import plain

if TYPE_CHECKING:
    from ci_user.secret import AccessKey

NAME: Final = "age"
_MOST_BYTES: Final = 1024 * 1024
"""More than any content has: 100 recipients with SSH keys of 24000 bits make 400 KiB."""

ABOUT: Final = About(
    title="age file",
    consumers="one file in the repository, encrypted to its recipients",
    tested="the file system, and the pyrage library that decrypts again",
    atomic=True,
    tells="a note beside the file, with the SHA-256 of its content",
    extra="age",
    how_to="""\
```yaml
secrets:
  - backend: age
    path: secrets/testing.age
    recipients:
      - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
```

A recipient is an age public key (`age-keygen -y identity.txt`) or an SSH one (`ssh-ed25519 ...`, `ssh-rsa ...`). The identity
is the one secret that the CI system keeps; no token is needed. Commit the file and the note beside it,
`secrets/testing.age.ci-user.json`, together after each run that delivers: the tool does not commit. The pipeline reads it so:

```sh
set -a; . <(age --decrypt -i "$AGE_IDENTITY_FILE" secrets/testing.age); set +a
```

`format: json` encrypts one JSON object instead. The file is binary, so that git changes no line ends in it.

- Protected environments may use it, since only the recipients can read it. What was committed stays in the history, for whoever
  gets an identity later: what protects an old key is that a rotation deletes it.
- Who may change the recipients decides who reads the next key. So they are part of the place: a rotation
  refuses recipients that no confirmed `deploy` has delivered to.
- A file and a note that are not of the same commit count as changed by somebody else.
""",
)

Recipient = Annotated[
    str,
    matching(
        r"age1[02-9ac-hj-np-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/]{40,4000}={0,2}( [!-~]{1,200})?",
        "an age public key, age1..., or an SSH one, ssh-ed25519 ... or ssh-rsa ...",
    ),
]
Format = Literal["dotenv", "json"]


class Settings(BackendSettings):
    """One file, and whom it is for."""

    backend: Literal["age"] = Field(description="Which backend this is.")
    path: RepositoryPath = Field(description="Path of the file, relative to the repository's root.")
    recipients: Annotated[tuple[Recipient, ...], Strict(False), Field(min_length=1, max_length=100)] = Field(
        description="The public keys that can decrypt it, of age or of SSH (ed25519, rsa)."
    )
    format: Format = Field(default="dotenv", description="What is encrypted: lines NAME=VALUE, or one JSON object.")
    names: Names = Field(default=Names(), description="What the key's parts are called.")

    _former: str | None = PrivateAttr(default=None)

    @property
    def readers(self) -> str:
        """Return what stands for the recipients: a digest that neither order nor comments change."""
        # 128 bits: nobody finds other recipients with the same one.
        bare = sorted({" ".join(one.split(" ")[:2]) for one in self.recipients})
        return self._former or hashlib.sha256("\n".join(bare).encode()).hexdigest()[:32]

    @property
    def former(self) -> bool:
        """Whether only the place's line is left, which does not tell the recipients."""
        return self._former is not None

    @classmethod
    def from_target(cls, target: str, environment: EnvironmentNames) -> Self | None:
        """Return settings for what the line stands for, None for anything else. They can remove the file, not write it."""
        path, mark, readers = target.removeprefix(f"{NAME}:").rpartition("#")
        if not mark or len(readers) != 32 or set(readers) - set("0123456789abcdef"):
            return None
        try:
            # Any recipient will do: the line's digest stands for the real ones.
            found = cls.model_validate({"backend": NAME, "path": path, "recipients": [f"age1{'q' * 58}"]})
        except ValidationError:
            return None
        found._former = readers
        return found if found.target(environment) == target else None

    def target(self, environment: EnvironmentNames) -> str:
        """Return ``age:PATH#DIGEST``: other recipients are another place, since the key goes to somebody else."""
        del environment
        return f"{NAME}:{PurePosixPath(self.path)}#{self.readers}"

    def guarded_arns(self, environment: EnvironmentNames) -> tuple[str, ...]:
        """Return nothing: no policy reaches a file."""
        del environment
        return ()


def open_with(settings: BackendSettings, context: OpenContext) -> AgeFile:
    """Return the backend of ``settings``."""
    if not isinstance(settings, Settings):
        raise TypeError(f"{NAME} needs its own settings")
    return AgeFile(settings, context)


class AgeFile(DeliverOnly):
    """An encrypted file as a backend that only takes delivery."""

    name: str = NAME

    def __init__(self, settings: Settings, context: OpenContext) -> None:
        self.target: str = settings.target(context.environment)
        self._settings = settings
        self._environment = context.environment
        self._file = PrivateFile(context.root, settings.path, self.target)
        self._note_name = f"{self._file.name}.ci-user.json"

    def preflight(self) -> tuple[str, ...]:
        """Check the recipients, whose the file is, and that its directory can be written; changes nothing."""
        recipients = self._recipients()
        with self._file.directory() as directory:
            look = self._checked(directory)
            self._file.check_writable(directory)
        return (
            f"the recipients can be encrypted to: {len(recipients)}",
            "its directory can be written",
            "the file is this environment's" if look.note else "the file does not exist yet",
        )

    def held(self) -> Held:
        """Return the key id that the note has for the file's content; nothing is decrypted."""
        with self._file.directory() as directory:
            try:
                look = self._look(directory)
            except NotOursError:
                return Held(None, None)
        if look.note is None or self._is_others(look):
            return Held(None, None)
        if look.content is None:
            return Held(None, None, torn=not look.changed)
        if self._settings.former or self._fits(look.content):
            return Held(look.content.key, None)
        return Held(None, None, torn=True)

    def deliver(self, key: AccessKey) -> None:
        """Encrypt the key and replace the file, between two notes; a file that holds it already stays as it is."""
        check_key_id(key.id)
        recipients = self._recipients()
        with alone(f"{NAME}:{self._file.path}"), self._file.directory(create=True) as directory:
            look = self._checked(directory)
            old = look.content
            if old is not None and old.key == key.id and self._fits(old) and look.note == self._note(old):
                return
            encrypted = self._encrypted(key, recipients)
            if isinstance(encrypted, BackendError):
                raise encrypted
            new = Content(
                sha256=hashlib.sha256(encrypted).hexdigest(),
                key=key.id,
                recipients=self._settings.readers,
                names=self._settings.names.all,
                format=self._settings.format,
            )
            self._write_note(directory, *((old,) if old else ()), new)
            directory.replace(self._file.name, lambda stream: stream.write(encrypted))
            self._write_note(directory, new)
            if self._look(directory).content != new:
                raise not_delivered(self.target, str(self._file.path), "somebody else wrote it at the same time")

    def remove(self) -> bool:
        """Delete the file if its content is the tool's, then the note."""
        with alone(f"{NAME}:{self._file.path}"), self._file.directory() as directory:
            for name in (self._file.name, self._note_name):
                directory.sweep(name)
            try:
                look = self._look(directory)
            except NotOursError:
                return False
            if look.note is None or self._is_others(look):
                return False
            self._refuse_changed(look)
            if look.sha256 is not None:
                directory.unlink(self._file.name)
            directory.unlink(self._note_name)
            return True

    def _recipients(self) -> list[Any]:
        """Return the recipients as the library has them."""
        try:
            import pyrage  # type: ignore[import-untyped, unused-ignore]
        except ModuleNotFoundError:
            raise extra_missing(self.target, "pyrage", "age") from None
        if self._settings.former:
            raise self._unfit("the recipients are not known: the environment file no longer names this place")
        found = []
        for one in self._settings.recipients:
            kind = pyrage.x25519 if one.startswith("age1") else pyrage.ssh
            try:
                found.append(kind.Recipient.from_str(one))
            except pyrage.RecipientError as error:
                raise self._unfit(f"{plain(one, 60)} is no recipient: {plain(error, 200)}") from None
        return found

    def _unfit(self, what: str) -> BackendError:
        return BackendError(
            what,
            where=self.target,
            expected="public keys as `age-keygen -y` or `ssh-keygen -y` print them",
            do="correct `recipients` in the environment file",
        )

    def _encrypted(self, key: AccessKey, recipients: list[Any]) -> bytes | BackendError:
        """Return the content, or the error: raised elsewhere, so that no frame of its traceback holds the secret."""
        import pyrage  # type: ignore[import-untyped, unused-ignore]

        try:
            return bytes(pyrage.encrypt(self._document(key), recipients))
        except pyrage.EncryptError:
            return self._unfit("the key could not be encrypted to the recipients")

    def _document(self, key: AccessKey) -> bytes:
        parts = self._settings.names.values(key, self._environment.region)
        if self._settings.format == "json":
            return json.dumps({name: value.reveal() for name, value in parts}, indent=2).encode() + b"\n"
        return "".join(f"{name}={value.reveal()}\n" for name, value in parts).encode()

    def _note(self, *contents: Content) -> Note:
        return Note(environment=self._environment.prefix, contents=contents)

    def _write_note(self, directory: Directory, *contents: Content) -> None:
        text = self._note(*contents).model_dump_json(indent=2).encode() + b"\n"
        directory.replace(self._note_name, lambda stream: stream.write(text))

    def _look(self, directory: Directory) -> Look:
        """Return what is there.

        Raises:
            NotOursError: Somebody else's file or note, or no file at all.
        """
        file, text = self._read(directory, self._file.name), self._read(directory, self._note_name)
        if text is None:
            if file is not None:
                raise self._not_ours(f"there is no note {self._note_name}")
            return Look(None, None)
        try:
            note = Note.model_validate_json(text)
        except ValidationError:
            note = None
        if note is None or note.environment != self._environment.prefix:
            raise self._not_ours(f"the note {self._note_name} does not say so")
        return Look(note, None if file is None else hashlib.sha256(file).hexdigest())

    def _read(self, directory: Directory, name: str) -> bytes | None:
        try:
            with directory.reading(name) as stream:
                # What is longer was not written here, and its digest is another one too.
                return None if stream is None else stream.read(_MOST_BYTES)
        except NotRegularError as error:
            why = f"{name} is {error}"
        raise self._not_ours(why)

    def _checked(self, directory: Directory) -> Look:
        look = self._look(directory)
        self._refuse_changed(look)
        return look

    def _refuse_changed(self, look: Look) -> None:
        if look.changed:
            raise changed_by_others(
                self.target,
                str(self._file.path),
                f"take the file and {self._note_name} from one commit; if nobody needs the file, delete both,"
                " then run the same command again",
            )

    def _fits(self, content: Content) -> bool:
        own = self._settings
        return (content.recipients, content.names, content.format) == (own.readers, own.names.all, own.format)

    def _is_others(self, look: Look) -> bool:
        """Return whether a place that only its line is left of has been taken over for other recipients."""
        if not self._settings.former or look.note is None:
            return False
        contents = look.note.contents if look.content is None else (look.content,)
        return all(content.recipients != self._settings.readers for content in contents)

    def _not_ours(self, why: str) -> NotOursError:
        return self._file.not_ours(why, f"no file, or one with a note that names {self._environment.prefix}")
