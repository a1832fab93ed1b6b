# TAB for dlftask in bash, from 3.2 on. Made by completions/generate.py; edit that.
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
            -*) _dlftask_offer --version -h --help ;;
            *) _dlftask_offer get watch ;;
        esac
        return 0
    fi
    # short: switches, then a letter that takes a value, then its value.
    case ${COMP_WORDS[1]} in
        get)
            options='-w --wait -p --project-id --workspace --demo -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --ca-bundle --insecure --profile --auth --token-file --timeout --interval --max-outage --strict -o --output --query --compact -q --quiet --color --utc --debug -h --help'
            valued=' -p --project-id --workspace -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --ca-bundle --profile --auth --token-file --timeout --interval --max-outage -o --output --query --color '
            short='^(-[hqw]*([opr]))(.*)$'
            ;;
        watch)
            options='-p --project-id --workspace --demo -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --ca-bundle --insecure --profile --auth --token-file --timeout --interval --max-outage --strict -o --output --query --compact -q --quiet --color --utc --debug -h --help'
            valued=' -p --project-id --workspace -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --ca-bundle --profile --auth --token-file --timeout --interval --max-outage -o --output --query --color '
            short='^(-[hq]*([opr]))(.*)$'
            ;;
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
        --auth)
            _dlftask_offer auto token aksk agency
            return 0
            ;;
        --timeout)
            _dlftask_offer none
            return 0
            ;;
        --interval)
            _dlftask_offer auto
            return 0
            ;;
        -o | --output)
            _dlftask_offer tree json jsonl tsv junit
            return 0
            ;;
        --color)
            _dlftask_offer auto always never
            return 0
            ;;
        --ca-bundle | --token-file | '>')
            _dlftask_files
            return 0
            ;;
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
