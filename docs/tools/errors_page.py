"""`docs/errors.md`: what commands exit with, and the errors that the library raises on purpose."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from docs.tools.markdown import cell, made_by, table
from mlplatform import errors
from mlplatform.cli.main import STOPPED
from mlplatform.errors import PlatformError

MEANING = {
    0: "Done. A rejection by the gate inside `run` or `simulate` is an outcome on record, and no failure.",
    1: "Failed: the message says what is wrong and where, the hint the way out. What was finished is kept.",
    2: "Wrong use: an unknown command, option, use case or setting, or a value that is none. Nothing was done.",
    3: "Not promoted: the gate said no, waits for approval, or could not look (`gate`, `promote`, "
    "`rollback`, `deployment`).",
    4: "Something breaking waits for a decision (`plan`, `apply`, `run`, `backfill`). Nothing was computed.",
    STOPPED: "Stopped by Ctrl-C, SIGTERM or a closed terminal. What was finished is kept; the same command goes on "
    "from there.",
}
_INTRODUCTION = f"""\
# Errors and exit codes

{made_by("the classes in [`errors.py`](../platform/mlplatform/errors.py)")}

An error that the library raises on purpose has a message, which says what is wrong and where, and a hint, which says
the way out. The command line prints both, and exits with a code; `--debug` shows the whole traceback. In a Databricks
job the error itself is raised, so that the run's page shows message and hint. Any other exception is a fault of ours,
or of a library: please report it with its traceback.

## Exit codes
"""
_IN_CODE = """\
## In Python

All are classes of `mlplatform.errors`, and all come from `PlatformError`:

```python
from mlplatform import parse_as_of
from mlplatform.errors import PlatformError

try:
    parse_as_of("tomorrow")
except PlatformError as error:
    print(error.message, error.hint, error.exit_code)
```
"""


def page() -> str:
    """Return the text of the page."""
    codes = table(("code", "what it means"), [(f"`{code}`", text) for code, text in MEANING.items()])
    rows = [
        (f"`{name}`", f"`{base}`", f"`{kind.exit_code}`", cell(_text(kind)))
        for kind in _tree(PlatformError)
        for name, base in [(kind.__name__, kind.__mro__[1].__name__)]
    ]
    return "\n".join([_INTRODUCTION, codes, _IN_CODE, table(("error", "is a", "code", "when"), rows)])


def _tree(kind: type[PlatformError]) -> Iterator[type[PlatformError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below)


def _text(kind: type[PlatformError]) -> str:
    """Return what the docstring says before its sections, in one line."""
    text = " ".join(re.split(r"\n\w+:\n", inspect.cleandoc(kind.__doc__ or ""))[0].split()).removeprefix("Raised ")
    return f"{text[:1].upper()}{text[1:]}"
