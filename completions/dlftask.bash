# Completion of dlftask in bash, from 3.2 on.
# shellcheck shell=bash

_dlftask() {
    local IFS=$' \t\n'
    local cur=${COMP_WORDS[COMP_CWORD]-} prefix='' given=' ' option='' options valued short
    local ids_only='' behind=$((COMP_CWORD + 1)) word i
    COMPREPLY=()
    # bash hands over the whole word at the cursor, or the next one where there is none: the part
    # before the cursor is the second argument. In bash 3.2 that is what follows the colon of junit:.
    if [[ $cur == [[:alnum:]_-]* && $cur != *: && $cur == "${2-}"* ]]; then
        [[ ${2-} ]] || behind=$COMP_CWORD
        cur=${2-}
    fi
    if ((COMP_CWORD == 1)); then
        case $cur in
            -*) _dlftask_offer --show-completion --version -h --help ;;
            *) _dlftask_offer get watch help ;;
        esac
        return 0
    fi
    options='-p --project-id --workspace --demo --timeout --interval --max-outage --fail-fast --strict -o --output --report --progress --query --compact -q --quiet --color --utc --debug -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --rate --ca-bundle --insecure --profile --auth --token-file -h --help'
    case ${COMP_WORDS[1]} in
        get) options="-w --wait $options" ;;
        watch) ;;
        help)
            ((COMP_CWORD > 2)) || _dlftask_offer get watch
            return 0
            ;;
        --show-completion)
            [[ $cur != '=' ]] || cur=''
            _dlftask_offer bash zsh fish
            return 0
            ;;
        *) return 0 ;;
    esac
    valued=' -p --project-id --workspace --timeout --interval --max-outage -o --output --report --progress --query --color -r --region --endpoint --iam-endpoint --connect-timeout --read-timeout --concurrency --rate --ca-bundle --profile --auth --token-file '
    # Switches, then a letter that takes a value, then its value.
    short='^(-[hqw]*([opr]))(.*)$'

    for ((i = 2; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $ids_only ]]; then
            given+="$word "
        elif [[ $option ]]; then
            # bash makes three words of --output=json where = is in COMP_WORDBREAKS.
            # The same with junit:report.xml and :.
            if [[ $option == --report && $word == ':' ]]; then
                option='>'
            elif [[ $word != '=' && ($option != --report || ${COMP_WORDS[i + 1]} != ':') ]]; then
                option=''
            fi
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
        # One word in bash 3.2, which still completes what follows the =; or = breaks no words.
        option=${cur%%=*} cur=${cur#*=}
        [[ $COMP_WORDBREAKS == *=* ]] || prefix=$option=
    elif [[ $cur =~ $short && -n ${BASH_REMATCH[3]} ]]; then
        option=-${BASH_REMATCH[2]} prefix=${BASH_REMATCH[1]} cur=${BASH_REMATCH[3]}
    fi
    if [[ $option == --report ]]; then
        if [[ $cur == *:* ]]; then
            [[ $COMP_WORDBREAKS == *:* ]] || prefix+=${cur%%:*}:
            option='>' cur=${cur#*:}
        else
            compopt -o nospace 2>/dev/null
            _dlftask_offer tree: json: jsonl: tsv: junit: markdown:
            return 0
        fi
    fi
    case $option in
        '') ;;
        --timeout)
            _dlftask_offer none 10m 30m 1h 2h
            return 0
            ;;
        --interval)
            _dlftask_offer auto 5s 30s 1m
            return 0
            ;;
        --max-outage)
            _dlftask_offer 1m 5m 30m 1h
            return 0
            ;;
        -o | --output)
            _dlftask_offer tree json jsonl tsv junit markdown
            return 0
            ;;
        --progress)
            _dlftask_offer auto plain none
            return 0
            ;;
        --color)
            _dlftask_offer auto always never
            return 0
            ;;
        -r | --region)
            _dlftask_offer ae-ad-1 af-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-3 \
                ap-southeast-4 cn-east-2 cn-east-3 cn-east-4 cn-north-1 cn-north-11 cn-north-2 cn-north-4 \
                cn-north-9 cn-south-1 cn-southwest-2 eu-west-101 la-north-2 la-south-2 \
                me-east-1 my-kualalumpur-1 na-mexico-1 ru-moscow-1 ru-northwest-2 sa-brazil-1 \
                tr-west-1
            return 0
            ;;
        --connect-timeout)
            _dlftask_offer 5s 10s 30s
            return 0
            ;;
        --read-timeout)
            _dlftask_offer 10s 30s 1m
            return 0
            ;;
        --rate)
            _dlftask_offer none
            return 0
            ;;
        --auth)
            _dlftask_offer auto token aksk agency
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
    # Spelled out: in many locales a-z contains more than these.
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

# bash before 4.4 always sorts.
complete -o nosort -F _dlftask dlftask 2>/dev/null || complete -F _dlftask dlftask
