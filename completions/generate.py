"""Write the completion scripts of bash, zsh and fish, from the commands themselves.

``python completions/generate.py [FOLDER]`` writes them to FOLDER, else beside this file. Run it
after a change of the commands or their options; a test says when that was forgotten.
"""  # noqa: INP001 - a folder of scripts, no package

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dlftask.cli import app
from dlftask.settings import AUTH_METHODS, COLORS, OUTPUTS

_WORDS = {
    "--auth": AUTH_METHODS,
    "--color": COLORS,
    "--interval": ("auto",),
    "--output": OUTPUTS,
    "--timeout": ("none",),
}


@dataclass(frozen=True)
class Option:
    """An option: its names, the short one first; ``value`` is "" for a switch."""

    names: tuple[str, ...]
    text: str
    value: str
    words: tuple[str, ...]

    @property
    def is_path(self) -> bool:
        """Whether its value is a file."""
        return self.value == "PATH"


@dataclass(frozen=True)
class Command:
    """A command, or ``dlftask`` itself."""

    text: str
    options: tuple[Option, ...]


def _read_app() -> tuple[Command, dict[str, Command]]:
    """``dlftask`` itself, and its commands by their names."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("dlftask", ["get"], resilient_parsing=True)
    commands = {
        name: _read_command(found, found.make_context(name, [], parent=context))
        for name, found in group.commands.items()
    }
    return _read_command(group, context), commands


def _read_command(command: Any, context: Any) -> Command:
    options = [
        _read_option(param)
        for param in command.get_params(context)
        if param.param_type_name == "option"
    ]
    return Command(_brief(command.help), tuple(options))


def _read_option(param: Any) -> Option:
    names = tuple(sorted(param.opts, key=len))
    return Option(
        names=names,
        text=_brief(param.help),
        value="" if param.is_flag else param.metavar or "VALUE",
        words=next((_WORDS[name] for name in names if name in _WORDS), ()),
    )


def _brief(text: str) -> str:
    """The first sentence of a help text, without its variables: a line beside a candidate."""
    return re.split(r"\.\s|\.$|\s\[", text, maxsplit=1)[0]


def _all_names(options: Iterable[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


_BASH = r"""# TAB for dlftask in bash, from 3.2 on. Made by completions/generate.py; edit that.
# shellcheck shell=bash

_dlftask() {
    local IFS=$' \t\n'
    local cur=${COMP_WORDS[COMP_CWORD]-} prefix='' given=' ' option='' options valued short
    local ids_only='' behind=$((COMP_CWORD + 1)) word i
    COMPREPLY=()
    # bash hands over the whole word at the cursor, or the next one where there is none: the part
    # before the cursor is the second argument.
    if [[ $cur == [[:alnum:]_-]* && $cur == "${2-}"* ]]; then
        [[ ${2-} ]] || behind=$COMP_CWORD
        cur=${2-}
    fi
    if ((COMP_CWORD == 1)); then
        case $cur in
            -*) _dlftask_offer @TOP@ ;;
            *) _dlftask_offer @COMMANDS@ ;;
        esac
        return 0
    fi
    # short: switches, then a letter that takes a value, then its value.
    case ${COMP_WORDS[1]} in
@OPTIONS@
        *) return 0 ;;
    esac

    for ((i = 2; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $ids_only ]]; then
            given+="$word "
        elif [[ $option ]]; then
            # bash makes three words of --output=json where = is in COMP_WORDBREAKS.
            [[ $word == '=' ]] || option=''
        elif [[ $word == -- ]]; then
            ids_only=1
        elif [[ $word == *[\<\>] ]]; then
            option='>'
        elif [[ $word =~ $short && -z ${BASH_REMATCH[3]} ]]; then
            option=-${BASH_REMATCH[2]}
        elif [[ $valued == *" $word "* ]]; then
            option=$word
        else
            given+="$word "
        fi
    done
    for ((i = behind; i < ${#COMP_WORDS[@]}; i++)); do
        given+="${COMP_WORDS[i]} "
    done

    if [[ $option ]]; then
        [[ $cur != '=' ]] || cur=''
    elif [[ $ids_only ]]; then
        :
    elif [[ $cur == --*=* ]]; then
        # One word in bash 3.2, which yet completes what follows the =; or = breaks no words.
        option=${cur%%=*} cur=${cur#*=}
        [[ $COMP_WORDBREAKS == *=* ]] || prefix=$option=
    elif [[ $cur =~ $short && -n ${BASH_REMATCH[3]} ]]; then
        option=-${BASH_REMATCH[2]} prefix=${BASH_REMATCH[1]} cur=${BASH_REMATCH[3]}
    fi
    case $option in
        '') ;;
@VALUES@
        *) return 0 ;;
    esac
    if [[ $cur == -* && ! $ids_only ]]; then
        # shellcheck disable=SC2086
        _dlftask_offer $options
    else
        _dlftask_recent
    fi
}

_dlftask_offer() {
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$prefix$word")
        fi
    done
}

_dlftask_files() {
    local file
    # readline's own file names are quoted as they should be; bash 3.2 has no compopt.
    if [[ ! $prefix ]] && compopt -o default 2>/dev/null; then
        return 0
    fi
    while IFS= read -r file; do
        [[ ! $file ]] || COMPREPLY+=("$prefix${file// /\\ }")
    done <<<"$(compgen -f -- "$cur")"
}

_dlftask_recent() {
    local folder=${XDG_STATE_HOME-} line lines=0
    # Spelled out: in many a locale a-z holds more than these.
    local other='[!ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-]'
    [[ $folder == /* ]] || folder=${HOME-}/.local/state
    [[ -f $folder/dlftask/recent ]] || return 0
    while ((lines++ < 100)) && { IFS= read -r line || [[ $line ]]; }; do
        line=${line%$'\r'}
        # shellcheck disable=SC2053
        if [[ ! $line || ${#line} -gt 128 || $line == *$other* ]]; then
            continue
        elif [[ $given == *" $line "* || ($line == -* && ! $ids_only) ]]; then
            continue
        fi
        given+="$line "
        _dlftask_offer "$line"
    done 2>/dev/null <"$folder/dlftask/recent"
    return 0
}

# bash before 4.4 cannot but sort.
complete -o nosort -F _dlftask dlftask 2>/dev/null || complete -F _dlftask dlftask
"""


def bash() -> str:
    """The script for bash, which shows no descriptions."""
    group, commands = _read_app()
    every = {option: None for command in commands.values() for option in command.options}
    values = [
        (" | ".join(option.names), f"_dlftask_offer {' '.join(option.words)}")
        for option in every
        if option.words
    ]
    paths = [name for option in every if option.is_path for name in option.names]
    values.append((" | ".join([*paths, "'>'"]), "_dlftask_files"))
    return _fill(
        _BASH,
        TOP=_all_names(group.options),
        COMMANDS=" ".join(commands),
        OPTIONS="\n".join(_bash_options(name, command) for name, command in commands.items()),
        VALUES="\n".join(
            f"        {names})\n            {action}\n            return 0\n            ;;"
            for names, action in values
        ),
    )


def _bash_options(name: str, command: Command) -> str:
    valued = [option for option in command.options if option.value]
    switches = [option for option in command.options if not option.value]
    return f"""\
        {name})
            options='{_all_names(command.options)}'
            valued=' {_all_names(valued)} '
            short='^(-[{_letters(switches)}]*([{_letters(valued)}]))(.*)$'
            ;;"""


def _letters(options: Iterable[Option]) -> str:
    names = [name for option in options for name in option.names]
    return "".join(sorted(name[1] for name in names if len(name) == 2))


_ZSH = r"""#compdef dlftask
# TAB for dlftask in zsh. Made by completions/generate.py; edit that.

_dlftask() {
  local curcontext=$curcontext ret=1
  local -a commands specs
  if (( CURRENT == 2 )); then
    commands=(
@COMMANDS@
    )
    _arguments -S \
@TOP@ \
      '1: : _describe -t commands command commands' && ret=0
    return ret
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
@OPTIONS@
    (*) return 1 ;;
  esac
  curcontext=${curcontext%:*:*}:dlftask-$words[1]:
  _arguments -s -S $specs '*: :_dlftask_recent'
}

_dlftask_recent() {
  setopt localoptions extendedglob
  local folder=${XDG_STATE_HOME-} expl
  local -aU ids
  local -a given
  [[ $folder == /* ]] || folder=${HOME-}/.local/state
  if [[ -f $folder/dlftask/recent && -r $folder/dlftask/recent ]]; then
    ids=(${(f)"$(<$folder/dlftask/recent)"})
  fi
  given=("${(@)words[1,CURRENT-1]}" "${(@)words[CURRENT+1,-1]}")
  ids=(${(M)${ids[1,100]%$'\r'}:#[A-Za-z0-9_-](#c1,128)})
  (( $given[(Ie)--] )) || ids=(${ids:#-*})
  ids=(${ids:|given})
  _wanted -V task-ids expl 'task ID' compadd -a ids
}

if [[ $funcstack[1] == _dlftask ]]; then
  _dlftask "$@"
else
  compdef _dlftask dlftask
fi
"""


def zsh() -> str:
    """The script for zsh, to lie in a folder of ``fpath``."""
    group, commands = _read_app()
    arms = [
        "\n".join(
            [f"    ({name})", "      specs=(", *_zsh_specs(command, 8), "      )", "      ;;"]
        )
        for name, command in commands.items()
    ]
    return _fill(
        _ZSH,
        TOP=" \\\n".join(_zsh_specs(group, 6)),
        COMMANDS="\n".join(
            f"      {_zsh_quoted(f'{name}:{command.text}')}" for name, command in commands.items()
        ),
        OPTIONS="\n".join(arms),
    )


def _zsh_specs(command: Command, indent: int) -> list[str]:
    return [" " * indent + _zsh_spec(option) for option in command.options]


def _zsh_spec(option: Option) -> str:
    """An option as ``_arguments`` reads it."""
    text = "[" + re.sub(r"([\[\]\\])", r"\\\1", option.text) + "]"
    names = list(option.names)
    if option.value:
        action = "_files" if option.is_path else f"({' '.join(option.words)})"
        text += f":{option.value}:{action if action != '()' else ' '}"
        names = [name + ("=" if name.startswith("--") else "+") for name in names]
    if len(names) == 1:
        return _zsh_quoted(names[0] + text)
    return f"'({' '.join(option.names)})'{{{','.join(names)}}}{_zsh_quoted(text)}"


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_FISH = r"""# TAB for dlftask in fish, from 3.0 on. Made by completions/generate.py; edit that.

function __dlftask_first
    test (count (commandline -opc)) -eq 1
end

function __dlftask_in
    set -l words (commandline -opc)
    set -q words[2]; and contains -- "$words[2]" $argv
end

function __dlftask_recent
    set -l folder "$XDG_STATE_HOME"
    string match -q -- '/*' "$folder"; or set folder "$HOME/.local/state"
    set -l file "$folder/dlftask/recent"
    test -f "$file" -a -r "$file"; or return
    set -l given (commandline -opc)
    set -l ids (string trim -r -c \r <$file | string match -r '^[A-Za-z0-9_-]{1,128}$')
    for id in $ids[1..100]
        contains -- $id $given; and continue
        string match -q -- '-*' $id; and not contains -- -- $given; and continue
        printf '%s\n' $id
    end
end

complete -c dlftask -f
@LINES@
complete -c dlftask -n '__dlftask_in @COMMANDS@' -k -a '(__dlftask_recent)' -d 'Recent task'
"""


def fish() -> str:
    """The script for fish."""
    group, commands = _read_app()
    lines = [
        f"complete -c dlftask -n __dlftask_first -a {name} -d {_fish_quoted(command.text)}"
        for name, command in commands.items()
    ]
    lines += [_fish_option("__dlftask_first", option) for option in group.options]
    users: dict[Option, list[str]] = {}
    for name, command in commands.items():
        for option in command.options:
            users.setdefault(option, []).append(name)
    lines += [
        _fish_option(f"'__dlftask_in {' '.join(names)}'", option) for option, names in users.items()
    ]
    return _fill(_FISH, LINES="\n".join(lines), COMMANDS=" ".join(commands))


def _fish_option(when: str, option: Option) -> str:
    words = ["complete", "-c", "dlftask", "-n", when]
    for name in option.names:
        words += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
    if option.is_path:
        words += ["-r", "-F"]
    elif option.value:
        words += ["-x"]
    if option.words:
        words += ["-k", "-a", _fish_quoted(" ".join(option.words))]
    return " ".join([*words, "-d", _fish_quoted(option.text)])


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fill(template: str, **parts: str) -> str:
    for name, part in parts.items():
        template = template.replace(f"@{name}@", part)
    return template


def main() -> None:
    """Write the three files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in {"dlftask.bash": bash(), "_dlftask": zsh(), "dlftask.fish": fish()}.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
