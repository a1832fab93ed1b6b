# Completion of dlftask in fish, from 3.0 on.

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

function __dlftask_report
    set -l words (string replace -r -- '^--report=' '' (commandline -ct) | string split -m 1 :)
    if not set -q words[2]
        printf '%s:\n' tree json jsonl tsv junit markdown
        return
    end
    for file in $words[2]*
        test -d $file; and set file $file/
        printf '%s:%s\n' $words[1] $file
    end
end

complete -c dlftask -f
complete -c dlftask -n __dlftask_first -a get -d 'Show the status of tasks; with --wait, wait for them to end'
complete -c dlftask -n __dlftask_first -a watch -d 'Watch tasks until they end'
complete -c dlftask -n __dlftask_first -a help -d 'Show the help of a command'
complete -c dlftask -n '__dlftask_in help' -a 'get watch'
complete -c dlftask -n 'not __dlftask_in get watch help' -l show-completion -x -a 'bash zsh fish' -d 'Print the completion script of bash, zsh or fish'
complete -c dlftask -n __dlftask_first -l version -d 'Show the version'
complete -c dlftask -n __dlftask_first -s h -l help -d 'Show this help'
complete -c dlftask -n '__dlftask_in get watch' -s p -l project-id -x -d 'Project of the task'
complete -c dlftask -n '__dlftask_in get watch' -l workspace -x -d 'Workspace of the task'
complete -c dlftask -n '__dlftask_in get watch' -l demo -d 'Use an embedded simulator: no account, no network'
complete -c dlftask -n '__dlftask_in get' -s w -l wait -d 'Wait for every task to end'
complete -c dlftask -n '__dlftask_in get watch' -l timeout -x -k -a 'none 10m 30m 1h 2h' -d 'Time limit for the wait, such as 90s, 30m or 1h30m'
complete -c dlftask -n '__dlftask_in get watch' -l interval -x -k -a 'auto 5s 30s 1m' -d 'Pause between two polls of a task; auto: 1s, growing to 15s'
complete -c dlftask -n '__dlftask_in get watch' -l max-outage -x -k -a '1m 5m 30m 1h' -d 'How long a wait tolerates an outage'
complete -c dlftask -n '__dlftask_in get watch' -l fail-fast -d 'End the wait at the first FAILED task or subtask'
complete -c dlftask -n '__dlftask_in get watch' -l strict -d 'Count WARNING as FAILED'
complete -c dlftask -n '__dlftask_in get watch' -s o -l output -x -k -a 'tree json jsonl tsv junit markdown' -d 'Format of the result: tree, json, jsonl, tsv, junit, markdown'
complete -c dlftask -n '__dlftask_in get watch' -l report -x -k -a '(__dlftask_report)' -d 'Write the result to a file as well, in any format; can be repeated'
complete -c dlftask -n '__dlftask_in get watch' -l progress -x -k -a 'auto plain none' -d 'auto; plain: one line per change; none: nothing before the result'
complete -c dlftask -n '__dlftask_in get watch' -l query -x -d 'Select from the JSON; implies -o json'
complete -c dlftask -n '__dlftask_in get watch' -l compact -d 'Hide SUCCESSFUL subtasks and show their count'
complete -c dlftask -n '__dlftask_in get watch' -s q -l quiet -d 'Print nothing but errors'
complete -c dlftask -n '__dlftask_in get watch' -l color -x -k -a 'auto always never' -d 'When to use colors: auto, always, never'
complete -c dlftask -n '__dlftask_in get watch' -l utc -d 'Show times in UTC'
complete -c dlftask -n '__dlftask_in get watch' -l debug -d 'Trace requests on standard error, secrets masked'
complete -c dlftask -n '__dlftask_in get watch' -s r -l region -x -k -a 'ae-ad-1 af-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 cn-east-2 cn-east-3 cn-east-4 cn-north-1 cn-north-11 cn-north-2 cn-north-4 cn-north-9 cn-south-1 cn-southwest-2 eu-west-101 la-north-2 la-south-2 me-east-1 my-kualalumpur-1 na-mexico-1 ru-moscow-1 ru-northwest-2 sa-brazil-1 tr-west-1' -d 'Region, which selects the endpoint'
complete -c dlftask -n '__dlftask_in get watch' -l endpoint -x -d 'URL of the service'
complete -c dlftask -n '__dlftask_in get watch' -l iam-endpoint -x -d 'URL of IAM, which looks up project IDs'
complete -c dlftask -n '__dlftask_in get watch' -l connect-timeout -x -k -a '5s 10s 30s' -d 'Time limit for connecting'
complete -c dlftask -n '__dlftask_in get watch' -l read-timeout -x -k -a '10s 30s 1m' -d 'Time limit for a complete response'
complete -c dlftask -n '__dlftask_in get watch' -l concurrency -x -d 'Maximum number of simultaneous requests'
complete -c dlftask -n '__dlftask_in get watch' -l rate -x -k -a 'none' -d 'Maximum number of requests per second, or none'
complete -c dlftask -n '__dlftask_in get watch' -l ca-bundle -r -F -d 'File of CA certificates'
complete -c dlftask -n '__dlftask_in get watch' -l insecure -d 'Accept any certificate, and plain http beyond loopback'
complete -c dlftask -n '__dlftask_in get watch' -l profile -x -d 'Table of dlftask/config.toml'
complete -c dlftask -n '__dlftask_in get watch' -l auth -x -k -a 'auto token aksk agency' -d 'Kind of credentials: auto, token, aksk, agency'
complete -c dlftask -n '__dlftask_in get watch' -l token-file -r -F -d 'File that holds an IAM token, read again when the token is refused'
complete -c dlftask -n '__dlftask_in get watch' -s h -l help -d 'Show this help'
complete -c dlftask -n '__dlftask_in get watch' -k -a '(__dlftask_recent)' -d 'Recent task'
