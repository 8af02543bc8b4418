"""`quasar eval`"""

from __future__ import annotations

import click

from quasar_runtime.cli.opened import open_session
from quasar_runtime.cli.options import DeviceOptions, device_options, model_option, output_options
from quasar_runtime.cli.output import Output
from quasar_runtime.cli.verb import BAD_INPUT, HELP_OPTIONS, Verb, print_error
from quasar_runtime.errors import DeviceError, QuasarError


@click.command("eval", cls=Verb, context_settings=HELP_OPTIONS)
@click.argument("folder", metavar="DIR", type=click.Path())
@model_option
@click.option(
    "--labels",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Labels: lines, .csv, .tsv or .json with file names and classes.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep answers in this file (JSON lines), and skip pictures that it holds.",
)
@click.option("--per-class", is_flag=True, help="Also print the accuracy of every class.")
@device_options
@output_options
def evaluate(
    folder: str,
    model: str,
    labels: str | None,
    resume: str | None,
    per_class: bool,
    on: DeviceOptions,
    out: Output,
) -> None:
    """Measure top-1 and top-5 accuracy on labelled pictures.

    DIR holds one folder per class, named by its wnid. With --labels it holds pictures in any
    arrangement. A picture that cannot be read is reported and does not count. When the device
    fails, the accuracy so far is printed.
    """
    from quasar_runtime.images.datasets import read_dataset
    from quasar_runtime.measure.evaluate import Evaluation
    from quasar_runtime.model.zoo import find_model, load_model

    # All that the user gives is checked before the device is opened, which may take minutes.
    loaded = load_model(model)
    dataset = read_dataset(folder, loaded.labels, labels)
    for note in dataset.notes:
        out.warn(note)
    stopped: QuasarError | None = None
    reads = [str(find_model(model)), folder, *([labels] if labels else [])]
    with open_session(loaded, on, out, reads=reads, writes=[resume]) as session:
        evaluation = Evaluation(session, dataset, resume)
        with out.bar(len(dataset.samples), "images", evaluation.done) as step:
            try:
                for outcome in evaluation.run():
                    step()
                    if outcome.error is not None:
                        print_error(outcome.error)
            except DeviceError as e:
                stopped = e
        stopped = stopped or evaluation.problem
        error = None if stopped is None else str(stopped)
        _print({**evaluation.as_dict(per_class), "error": error}, out)
    if stopped is not None:
        raise stopped
    if evaluation.failed or dataset.skipped:
        click.get_current_context().exit(BAD_INPUT)


def _print(found: dict[str, object], out: Output) -> None:
    if out.json:
        out.value(found)
        return
    shown = {k: "-" if found[k] is None else f"{found[k]:.2f} %" for k in ("top1", "top5")}
    if out.quiet:
        out.line(shown["top1"])
        return
    out.text(f"{found['model']} on {found['device']}, overlay {found['overlay']}")
    out.text(f"top-1 {shown['top1']}, top-5 {shown['top5']} of {found['images']:,} images")
    classes = found.get("classes")
    if isinstance(classes, list):
        out.line()
        out.table(
            ["images", "top-1", "top-5", "wnid", "label"],
            [
                (f"{c['images']:,}", f"{c['top1']:.1f}", f"{c['top5']:.1f}", c["wnid"], c["label"])
                for c in classes
            ],
        )
