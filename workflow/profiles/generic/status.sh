#!/bin/sh
# Prints success, failed or running for job $1 of LSF, Grid Engine or PBS (with job history).
if command -v bjobs >/dev/null; then
    case $(bjobs -noheader -o stat "$1" 2>/dev/null) in
        DONE*) echo success ;;
        EXIT*) echo failed ;;
        *) echo running ;;
    esac
elif command -v qacct >/dev/null; then
    if qstat -j "$1" >/dev/null 2>&1; then
        echo running
    else
        case $(qacct -j "$1" 2>/dev/null | awk '$1 == "exit_status" { code = $2 } END { print code }') in
            0) echo success ;;
            "") echo running ;;     # the accounting lags behind
            *) echo failed ;;
        esac
    fi
else
    found=$(qstat -x -f "$1" 2>/dev/null)
    case $found in
        *"job_state = F"*"Exit_status = 0"*) echo success ;;
        *"job_state = F"*) echo failed ;;
        *) echo running ;;
    esac
fi
