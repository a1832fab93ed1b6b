# TAB for dlftask in fish, from 3.0 on. Made by completions/generate.py; edit that.

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
complete -c dlftask -n __dlftask_first -a get -d 'Ask once for each task and say what became of it; or wait for it'
complete -c dlftask -n __dlftask_first -a watch -d 'Watch tasks while they run, until each has left RUNNING'
complete -c dlftask -n __dlftask_first -l version -d 'Say the version'
complete -c dlftask -n __dlftask_first -s h -l help -d 'Show this message and exit'
complete -c dlftask -n '__dlftask_in get' -s w -l wait -d 'Poll until every task has left RUNNING'
complete -c dlftask -n '__dlftask_in get watch' -s p -l project-id -x -d 'Project of the task; else looked up by region'
complete -c dlftask -n '__dlftask_in get watch' -l workspace -x -d 'Workspace of the task; else the default one'
complete -c dlftask -n '__dlftask_in get watch' -l demo -d 'Ask an embedded simulator: no account, no network'
complete -c dlftask -n '__dlftask_in get watch' -s r -l region -x -d 'Region, which selects the endpoint'
complete -c dlftask -n '__dlftask_in get watch' -l endpoint -x -d 'The service itself'
complete -c dlftask -n '__dlftask_in get watch' -l iam-endpoint -x -d 'Where a project ID is looked up'
complete -c dlftask -n '__dlftask_in get watch' -l connect-timeout -x -d 'Longest way to a connection; 5s'
complete -c dlftask -n '__dlftask_in get watch' -l read-timeout -x -d 'Longest time to an answer\'s last byte; 10s'
complete -c dlftask -n '__dlftask_in get watch' -l concurrency -x -d 'Requests under way at once; 8'
complete -c dlftask -n '__dlftask_in get watch' -l ca-bundle -r -F -d 'CA certificates'
complete -c dlftask -n '__dlftask_in get watch' -l insecure -d 'Accept any certificate, and plain http beyond loopback'
complete -c dlftask -n '__dlftask_in get watch' -l profile -x -d 'Table of dlftask/config.toml; default'
complete -c dlftask -n '__dlftask_in get watch' -l auth -x -k -a 'auto token aksk agency' -d 'One of auto, token, aksk, agency'
complete -c dlftask -n '__dlftask_in get watch' -l token-file -r -F -d 'File that holds an IAM token, read again when it is refused'
complete -c dlftask -n '__dlftask_in get watch' -l timeout -x -k -a 'none' -d 'Longest wait, such as 90s, 30m or 1h30m; none'
complete -c dlftask -n '__dlftask_in get watch' -l interval -x -k -a 'auto' -d 'Pause between two polls of a task; auto: a twentieth of the time waited, 1s to 15s'
complete -c dlftask -n '__dlftask_in get watch' -l max-outage -x -d 'Longest outage that a wait sits out; 5m'
complete -c dlftask -n '__dlftask_in get watch' -l strict -d 'WARNING counts as FAILED'
complete -c dlftask -n '__dlftask_in get watch' -s o -l output -x -k -a 'tree json jsonl tsv junit' -d 'One of tree, json, jsonl, tsv, junit'
complete -c dlftask -n '__dlftask_in get watch' -l query -x -d 'Select from the JSON; implies -o json'
complete -c dlftask -n '__dlftask_in get watch' -l compact -d 'A tree of what is not SUCCESSFUL only'
complete -c dlftask -n '__dlftask_in get watch' -s q -l quiet -d 'Print nothing but errors'
complete -c dlftask -n '__dlftask_in get watch' -l color -x -k -a 'auto always never' -d 'One of auto, always, never'
complete -c dlftask -n '__dlftask_in get watch' -l utc -d 'Times in UTC, not local'
complete -c dlftask -n '__dlftask_in get watch' -l debug -d 'Trace requests on standard error, secrets masked'
complete -c dlftask -n '__dlftask_in get watch' -s h -l help -d 'Show this message and exit'
complete -c dlftask -n '__dlftask_in get watch' -k -a '(__dlftask_recent)' -d 'Recent task'
