"""Check the explorers' JavaScript: every name is defined and used, and no file or function is long.

The files import and export nothing, so a linter that reads them one by one knows neither which names the others define nor which they use.
Here they are linted as one text, and what is found is told by file and line.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "aam_nb" / "show" / "widgets" / "js"
BROWSER = {
    "Node",
    "MutationObserver",
    "ResizeObserver",
    "cancelAnimationFrame",
    "document",
    "getComputedStyle",
    "requestAnimationFrame",
}
"""Names that a browser gives."""
FILE, FUNCTION = 500, 60
"""The most lines of a file, and of a function with all that is inside it."""


def put_together() -> list[tuple[str, str]]:
    """Lines of the kit and of all explorers as `aam_nb` puts them together, each with the file and line it comes from."""
    lines = []

    def write(text: str, origin: str = "") -> None:
        lines.append((text, origin))

    def copy(folder: Path) -> None:
        for path in sorted(folder.glob("*.js")):
            for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                write(line, f"{path.relative_to(FOLDER.parents[3])}:{k}")

    copy(FOLDER / "kit")
    write("export { mount, SavedModel };")
    for folder in sorted(f for f in FOLDER.iterdir() if f.is_dir() and f.name != "kit"):
        write(f"export const {folder.name} = (() => {{")
        copy(folder)
        write("return build; })();")
    return lines


def sizes() -> list[str]:
    """What is too long."""
    messages = []
    for path in sorted(FOLDER.rglob("*.js")):
        name, lines = path.relative_to(FOLDER.parents[3]), path.read_text(encoding="utf-8").splitlines()
        if len(lines) > FILE:
            messages.append(f"{name}: {len(lines)} lines; at most {FILE}")
        starts = {"": 0, "  ": 0}
        for k, line in enumerate(lines, 1):
            indent = line[: len(line) - len(line.lstrip())]
            if indent in starts and re.match(r"[\w]", line.strip()):
                starts[indent] = k
            long = k - starts.get(indent, k) + 1
            if re.match(r"\s*[})]", line) and long > FUNCTION and not lines[starts[indent] - 1].startswith("class "):
                messages.append(f"{name}:{starts[indent]}: {long} lines; at most {FUNCTION}")
    return messages


def doubles() -> list[str]:
    """Names that two files of an explorer, or one and the kit, both define: the later would silently replace the earlier."""
    messages = []
    for folder in sorted(f for f in FOLDER.iterdir() if f.is_dir()):
        seen: dict[str, str] = {}
        for path in [
            *sorted((FOLDER / "kit").glob("*.js")),
            *(sorted(folder.glob("*.js")) if folder.name != "kit" else []),
        ]:
            for name in re.findall(r"^(?:function|class|const|let) (\w+)", path.read_text(encoding="utf-8"), re.M):
                if name in seen:
                    messages.append(f"{path.relative_to(FOLDER.parents[3])}: `{name}` is defined in {seen[name]} too")
                seen[name] = path.name
    return messages


def names() -> list[str]:
    """Names that are undefined or unused."""
    lines = put_together()
    rules = ["--rules-tags=", "--rules-include=no-undef,no-unused-vars", "--no-config"]
    text = "\n".join(line for line, _ in lines)
    done = subprocess.run(
        ["deno", "lint", "--json", *rules, "-"], input=text, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    messages = [error["message"] for error in report["errors"]]
    for finding in report["diagnostics"]:
        name = finding["message"].removesuffix(" is not defined")
        if finding["code"] != "no-undef" or name not in BROWSER:
            messages.append(f"{lines[finding['range']['start']['line'] - 1][1]}: {finding['message']}")
    return messages


def main() -> int:
    """Print what is wrong; 1 where something is."""
    messages = names() + doubles() + sizes()
    print("\n".join(messages) or "every name is defined and used, and nothing is long")
    return int(bool(messages))


if __name__ == "__main__":
    sys.exit(main())
