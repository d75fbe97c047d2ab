"""`gpt2 completion`: what a shell needs to complete verbs and flags."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from gpt2.cli.parsing import parse
from gpt2.cli.verbs import VERBS

# The flags are those in the help of what has been typed so far.
BASH = """_gpt2() {
    local word="${COMP_WORDS[COMP_CWORD]}" known=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        known="VERBS"
    elif [[ "$word" == -* ]]; then
        local typed=("${COMP_WORDS[@]:1:1}")
        [[ "${COMP_WORDS[2]}" == -* ]] || typed=("${COMP_WORDS[@]:1:2}")
        known="$("${COMP_WORDS[0]}" "${typed[@]}" --help 2>/dev/null |
            grep -oE -e '--[a-z][a-z.-]+' | sort -u)"
    fi
    COMPREPLY=($(compgen -W "$known" -- "$word"))
}
complete -o default -F _gpt2 gpt2"""
ZSH = "autoload -U +X bashcompinit && bashcompinit"  # zsh's own reader of such a function


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a script that completes verbs and flags: source <(gpt2 completion bash)."""

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """Shell that reads the script."""

    def run(self) -> None:
        """Print the script."""
        if self.shell == "zsh":
            print(ZSH)
        print(BASH.replace("VERBS", " ".join(VERBS)))


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Completion, args, verb="completion").run()
