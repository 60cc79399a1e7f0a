"""`aigq`: one command, whose subcommands are imported only when called, so that `aigq serve` never loads torch."""

import importlib
import sys

import typer

from service.contracts.errors import AigqError
from service.contracts.settings import LogSettings
from service.telemetry import set_up_logs

# name -> module with a typer `app`, and its line in the help
COMMANDS = {
    "serve": ("workers.serve", "run the HTTP service"),
    "direct": ("workers.direct.commands", "run a nearline worker (AIGQ-Direct)"),
    "think": ("workers.think.commands", "publish x2q: what items and categories lead to (AIGQ-Think)"),
    "item-text": ("workers.item_text.commands", "ask the model for words that stand for items in prompts"),
    "sink": ("workers.sink.commands", "drain events and served lists to Parquet logs"),
    "artefacts": ("workers.common.commands", "build the catalogue artefact that the service reads"),
    "shop": ("workers.shop.commands", "generate the sample shop's logs"),
    "import": ("workers.shop.importer.commands", "make a dataset of a shop's own logs"),
    "train": ("workers.training.commands", "train a model from logs"),
    "evaluate": ("workers.evaluation.commands", "how often the next searches are foreseen, beside tuned baselines"),
    "seeds": ("workers.evaluation.seeds", "put evaluations of several training seeds side by side"),
    "capacity": ("workers.capacity.commands", "compute memory, cores, accelerators and cost for N shoppers"),
    "bench": ("workers.bench.commands", "measure ratios on this machine: the endpoint beside a bare route"),
    "demo": ("workers.demo.commands", "start everything and watch a click become a hint"),
}


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "Usage: aigq COMMAND [OPTIONS]\n\nGenerative query recommendation.\n\nCommands:\n" + "\n".join(
        [
            *lines,
            "",
            "aigq COMMAND --help says more. Settings: a TOML file (--config or AIGQ_CONFIG) and AIGQ_* variables.",
        ]
    )


def main() -> None:
    """Run the subcommand named by the first argument; a mistake that we foresaw ends in one line, not a traceback."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stdout.write(usage() + "\n")
        raise SystemExit(0 if arguments else 2)
    if arguments[0] not in COMMANDS:
        sys.stderr.write(f"aigq: there is no command {arguments[0]!r}\n\n{usage()}\n")
        raise SystemExit(2)
    set_up_logs(LogSettings())  # until a command has read settings
    app: typer.Typer = importlib.import_module(COMMANDS[arguments[0]][0]).app
    try:
        app(args=arguments[1:], prog_name=f"aigq {arguments[0]}")
    except AigqError as error:
        sys.stderr.write(f"aigq {arguments[0]}: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
