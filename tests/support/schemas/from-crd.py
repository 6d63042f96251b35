"""Makes a schema for the tests from a CustomResourceDefinition on stdin: the first version's openAPIV3Schema, without what says
nothing of a new object (descriptions, formats, defaults, status), and with what stands in it several times written once.

    git show v4.1.2:manifests/base/crds/full/argoproj.io_workflows.yaml | from-crd.py "where it is from" > workflow.json

Needs PyYAML. What is left is the project's own, `x-kubernetes-validations` and `x-kubernetes-list-map-keys` too.
"""

import collections
import json
import sys

import yaml

DROPPED = {"description", "format", "default", "x-kubernetes-map-type"}
# A shared part has to be worth its name.
SHORTEST = 80


def kept(schema):
    """A schema without what is dropped, and its text."""
    out = {}
    for key, value in schema.items():
        if key in DROPPED or (key == "x-kubernetes-list-type" and value == "atomic"):
            continue
        if key == "properties":
            value = {name: kept(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            value = kept(value)
        elif key == "required":
            # What has a default is there before anything is checked.
            value = [name for name in value if "default" not in schema.get("properties", {}).get(name, {})]
        out[key] = value
    return out


def text(schema):
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def parts(schema, name):
    """All schemas in a schema, each with the name of the field that it is of; inner ones first."""
    for key, inner in schema.get("properties", {}).items():
        yield from parts(inner, key)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from parts(schema[key], name)
    yield schema, name


def shared(root):
    """The schema with `$ref`s, and what these mean."""
    counts, names = collections.Counter(), {}
    for part, name in parts(root, ""):
        counts[text(part)] += 1
        names.setdefault(text(part), name)
    taken, of = {}, {}
    for whole, count in counts.items():
        if count > 1 and len(whole) >= SHORTEST:
            taken[names[whole]] = taken.get(names[whole], 0) + 1
            of[whole] = names[whole] + (str(taken[names[whole]]) if taken[names[whole]] > 1 else "")
    defs = {}

    def refer(schema, is_whole=False):
        name = of.get(text(schema))
        if name and not is_whole:
            if name not in defs:
                defs[name] = None
                defs[name] = refer(schema, is_whole=True)
            return {"$ref": f"#/$defs/{name}"}
        out = dict(schema)
        if "properties" in out:
            out["properties"] = {key: refer(inner) for key, inner in out["properties"].items()}
        for key in ("items", "additionalProperties"):
            if isinstance(out.get(key), dict):
                out[key] = refer(out[key])
        return out

    return refer(root, is_whole=True), defs


schema = yaml.safe_load(sys.stdin)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
schema["properties"].pop("status", None)
root, defs = shared(kept(schema))
# One line each, so that a difference can be read.
print("{" + f'"$comment":{json.dumps(sys.argv[1])},')
for key, value in root.items():
    print(f'"{key}":{text(value)},')
print('"$defs":{')
print(",\n".join(f'"{name}":{text(defs[name])}' for name in sorted(defs)))
print("}}")
