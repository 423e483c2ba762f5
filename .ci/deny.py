"""Checks the dependencies against .deny.toml where cargo-deny is not installed.

Reads licenses.allow and licenses.exceptions, bans.deny (with wrappers and deny-multiple-versions) and
sources.allow-registry, with cargo-deny's meaning. Needs Python 3.11 and cargo, and compiles nothing.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter


def acceptable(expression, allowed):
    """Whether an SPDX expression (`/` is the old way to write OR) can be met with the allowed licenses."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def alternatives():
        met = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = conjunction() or met
        return met

    def conjunction():
        met = term()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = term() and met
        return met

    def term():
        if tokens[0] == "(":
            tokens.pop(0)
            met = alternatives()
            tokens.pop(0)
            return met
        name = tokens.pop(0)
        if tokens and tokens[0] == "WITH":
            name = " ".join([name, tokens.pop(0), tokens.pop(0)])
        return name in allowed

    met = alternatives()
    if tokens:
        raise ValueError(f"not a license expression: {expression!r}")
    return met


def license_faults(packages, policy):
    exceptions = {e["crate"]: e["allow"] for e in policy.get("exceptions", [])}
    for package in packages:
        allowed = {*policy["allow"], *exceptions.get(package["name"], [])}
        expression = package["license"]
        if not expression or not acceptable(expression, allowed):
            yield f"{package['name']} {package['version']}: license {expression} is not allowed"


def source_faults(packages, policy):
    allowed = {"registry+" + url for url in policy["allow-registry"]}
    for package in packages:
        if package["source"] and package["source"] not in allowed:
            yield f"{package['name']} {package['version']}: source {package['source']} is not allowed"


def ban_faults(packages, nodes, policy):
    by_id = {package["id"]: package for package in packages}
    versions = Counter(package["name"] for package in packages)
    for ban in policy["deny"]:
        name, reason = ban["crate"], ban.get("reason", "")
        if ban.get("deny-multiple-versions"):
            if versions[name] > 1:
                yield f"{name}: {versions[name]} versions of it"
        elif "wrappers" not in ban:
            if versions[name]:
                yield f"{name} is banned: {reason}"
        else:
            for node in nodes:
                parent = by_id[node["id"]]["name"]
                children = {by_id[d["pkg"]]["name"] for d in node["deps"]}
                if name in children and parent not in ban["wrappers"]:
                    yield f"{parent} may not depend on {name}: {reason}"


def check(manifest, policy, *options):
    """Prints what is wrong with the dependencies of a workspace, and says how much."""
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--manifest-path", manifest]
    command += options
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    nodes = metadata["resolve"]["nodes"]
    used = {node["id"] for node in nodes}
    packages = [package for package in metadata["packages"] if package["id"] in used]
    faults = [
        *license_faults(packages, policy["licenses"]),
        *ban_faults(packages, nodes, policy["bans"]),
        *source_faults(packages, policy["sources"]),
    ]
    for fault in faults:
        print(f"deny: {fault}", file=sys.stderr)
    print(f"deny: {manifest}: {len(packages)} packages, {len(faults)} faults")
    return len(faults)


def main():
    with open(".deny.toml", "rb") as file:
        policy = tomllib.load(file)
    faults = check("Cargo.toml", policy, "--locked")
    # Its lock follows whatever the crates of the workspace depend on.
    faults += check("fuzz/Cargo.toml", policy)
    print("deny: advisories not checked: that needs cargo-deny")
    sys.exit(1 if faults else 0)


main()
