"""`mlplatform ui`: MLflow's own pages on the local registry."""

from __future__ import annotations

import click

from mlplatform.cli.commands import command
from mlplatform.cli.options import Options


@command(
    examples=(
        "mlplatform ui --open",
        "mlplatform ui --port 5050",
    ),
)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Where it listens.")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
def ui(port: int, show: bool, options: Options) -> None:
    """Show experiments, runs and versions in MLflow's pages.

    Until Ctrl-C; only this machine reaches it. On Databricks the workspace's own pages show the same.
    """
    from mlplatform.errors import UsageError

    if options.workspace != "local":
        raise UsageError(
            "mlplatform ui is for a local workspace.",
            hint="On Databricks open Catalog > the model, and Experiments, in the workspace itself.",
        )
    from mlplatform.workspace.local.mlflow_server import HOST, serving
    from mlplatform.workspace.local.registry import LocalRegistry

    with options.open() as ws:
        registry = ws.registry
        assert isinstance(registry, LocalRegistry)  # of a local workspace  # nosec B101
        registry.activate()  # made, brought up to date and moved with its folder, as any command would have it
    with serving(registry.uri, registry.artifacts, port=port) as server:
        address = f"http://{HOST}:{port}"
        click.echo(f"MLflow: {address}")
        click.echo("Ctrl-C ends it.")
        if show:
            click.launch(address)
        server.wait()
