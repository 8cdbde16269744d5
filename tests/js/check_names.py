"""Check that every name in the explorers' JavaScript is defined and used.

The files import and export nothing, so a linter that reads them one by one knows neither which names the others define nor which they use.
Here they are linted as one text, and what is found is told by file and line.
"""

import json
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


def main() -> int:
    """Print each name that is undefined or unused; 1 where there is one."""
    lines = put_together()
    rules = ["--rules-tags=", "--rules-include=no-undef,no-unused-vars", "--no-config"]
    text = "\n".join(line for line, _ in lines)
    done = subprocess.run(
        ["deno", "lint", "--json", *rules, "-"], input=text, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    messages = [f"{error['message']}" for error in report["errors"]]
    for finding in report["diagnostics"]:
        name = finding["message"].removesuffix(" is not defined")
        if finding["code"] != "no-undef" or name not in BROWSER:
            messages.append(f"{lines[finding['range']['start']['line'] - 1][1]}: {finding['message']}")
    print("\n".join(messages) or f"{len(lines)} lines of JavaScript: every name is defined and used")
    return int(bool(messages))


if __name__ == "__main__":
    sys.exit(main())
