"""Gives manifests to the models that their projects publish, and says what these do not take.

Workflows: `hera`, whose models are made from Argo Workflows' OpenAPI document. JobSets: `kubeflow-trainer-api`, whose models are
made from that of JobSet. Both are made from the Go types that the projects' CRDs are made from. A field that a model does not
know is refused, as a strict API server does it.

Prints a line for each file. Exit codes: 0 all are taken, 1 one is not, 3 a package is missing.
"""

import sys

try:
    import yaml
    from hera.shared import _pydantic

    # Before the models are made: each takes it from here.
    _pydantic.APIBaseModel.model_config["extra"] = "forbid"
    from hera.workflows.models import Workflow
    from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet
    from pydantic import ValidationError
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def unknown(given, taken, path):
    """The fields that were given and that the model did not keep."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            if key not in taken:
                yield f"{path}.{key}"
            else:
                yield from unknown(value, taken[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for at, pair in enumerate(zip(given, taken)):
            yield from unknown(*pair, f"{path}[{at}]")
    elif given != taken:
        yield path


def wrong(document):
    """What is wrong with a document, as lines."""
    try:
        if document["kind"] == "Workflow":
            Workflow.model_validate(document)
            return []
        taken = JobsetV1alpha2JobSet.from_dict(document).to_dict()
    except (ValidationError, ValueError, AttributeError, TypeError) as error:
        return str(error).splitlines()
    return list(unknown(document, taken, ""))


is_wrong = False
for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as text:
        *others, document = yaml.safe_load_all(text)
        lines = wrong(document)
        lines += [f"{other!r} is no object" for other in others if "apiVersion" not in (other or {})]
    print(f"{file}: {'; '.join(lines) or 'taken'}")
    is_wrong = is_wrong or bool(lines)
sys.exit(1 if is_wrong else 0)
